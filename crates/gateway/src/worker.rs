//! The process that serves: everything between the sockets, on one thread.

mod follow;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use lifecycle::{Home, open_files};
use spec::{Error, Result, ResultExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::control;
use crate::door::Front;
use crate::gateway::Gateway;
use crate::holder::Held;
use crate::notes;
use crate::watch::Watched;

use follow::follow;

/// What a worker is told.
#[derive(Debug)]
pub struct Orders {
    /// Where state is kept.
    pub home: Home,
    /// What is served.
    pub plan: Plan,
    /// Standard input is a channel to a holder of sockets.
    pub held: bool,
}

/// What is served.
#[derive(Debug)]
pub enum Plan {
    /// What this file says; an absolute path.
    File(PathBuf),
    /// One package, under any name.
    One {
        /// Where requests come in.
        listen: Vec<SocketAddr>,
        /// An absolute path, or the name of an installed image.
        package: String,
    },
}

/// So many threads wait for containers, at most.
const HANDS: usize = 64;

/// How long requests that are under way may take when we end.
const FAREWELL: Duration = Duration::from_secs(30);

/// Serves until it is told to end.
///
/// # Errors
/// What is wrong with the configuration; an address that is taken.
pub fn run(orders: &Orders) -> Result<()> {
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Each waits for one container: more of them at once only take each other's time, and memory.
        .max_blocking_threads(HANDS)
        .build()
        .doing(|| "setting up the gateway's loop")?;
    let local = LocalSet::new();
    let served = runtime.block_on(local.run_until(serve(orders)));
    // Threads that still wait for a container are not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(orders: &Orders) -> Result<()> {
    let held = match orders.held {
        true => Held::receive(own_input()?)?,
        false => Held::default(),
    };
    // From the first moment on: who is told to end now ends well.
    let mut signals = Signals::watch()?;
    // What the holder takes otherwise than we do was blocked, and kept for us, until here.
    sys::signal::unblock_all();
    let holder = held.watch()?;
    let gateway = Gateway::new(orders.home.clone(), held);
    let config = read(orders)?;
    tokio::select! {
        applied = gateway.apply(config) => applied?,
        // Nobody is served yet. (To stop all instances, we first have to know them.)
        () = signals.leave(holder.as_ref()) => return Ok(()),
    }
    let control = control::listen(&orders.home)?;
    tokio::task::spawn_local(control::answer_all(Rc::clone(&gateway.front), control));
    tokio::task::spawn_local(Rc::clone(&gateway.house).tend());
    tokio::task::spawn_local(notes::write(Rc::clone(&gateway.front)));
    tokio::task::spawn_local(reopen(watch(SignalKind::hangup())?, Rc::clone(&gateway.front)));
    gateway.is_ready();
    let ends = signals.obey(&gateway, orders, holder.as_ref()).await;
    gateway.close();
    match ends {
        Ends::Leaving => gateway.finish(FAREWELL).await,
        Ends::Stopping => gateway.stop().await,
    }
    Ok(())
}

/// For ever where there is no holder.
async fn is_gone(holder: Option<&Watched>) {
    match holder {
        Some(holder) => drop(holder.readable().await),
        None => std::future::pending().await,
    }
}

fn own_input() -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::AsFd;
    std::io::stdin().as_fd().try_clone_to_owned().doing(|| "taking over the channel to the holder")
}

/// What we are told to do, as far as we can.
fn read(orders: &Orders) -> Result<Config> {
    let mut config = read_all(orders)?;
    config.clients.connections = config.clients.connections.min(most_clients(open_files::raise()));
    Ok(config)
}

/// Each takes two open files, its own connection and one to an instance; some are left for all else.
fn most_clients(files: usize) -> usize {
    (files / 100 * 45).max(1)
}

fn read_all(orders: &Orders) -> Result<Config> {
    match &orders.plan {
        Plan::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|cause| {
                Error::io(format!("reading {}", path.display()), cause)
                    .hint("tsubo gateway --help shows an example; --config FILE reads another one")
            })?;
            Config::parse(&text, path)
        }
        Plan::One { listen, package } => Config::of_one(listen, package),
    }
}

/// How it ends.
enum Ends {
    /// Instances go on: another worker takes them over.
    Leaving,
    /// They are stopped.
    Stopping,
}

struct Signals {
    end: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn watch() -> Result<Self> {
        Ok(Self {
            end: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            hang_up: watch(SignalKind::hangup())?,
        })
    }

    /// Until we are told to leave. Without a holder nobody would begin another one of us: who does begins a gateway.
    async fn leave(&mut self, holder: Option<&Watched>) {
        tokio::select! {
            _ = self.end.recv() => {}
            () = is_gone(holder) => {}
        }
    }

    /// Follows what is said and what changes until we are told to end: that waits for nothing else.
    async fn obey(mut self, gateway: &Rc<Gateway>, orders: &Orders, holder: Option<&Watched>) -> Ends {
        let mut hang_up = self.hang_up;
        tokio::select! {
            _ = self.end.recv() => Ends::Leaving,
            _ = self.interrupt.recv() => Ends::Stopping,
            () = is_gone(holder) => Ends::Leaving,
            never = follow(&mut hang_up, gateway, orders) => match never {},
        }
    }
}

fn watch(kind: SignalKind) -> Result<Signal> {
    signal(kind).doing(|| "watching signals")
}

/// Begins the access log anew whenever we are told so, also while a package is being installed.
async fn reopen(mut hang_up: Signal, front: Rc<Front>) {
    while hang_up.recv().await.is_some() {
        front.log.reopen();
    }
}
