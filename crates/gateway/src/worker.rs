//! The process that serves: everything between the sockets, on one thread.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use lifecycle::Home;
use spec::{Error, Result, ResultExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use crate::config::Config;
use crate::control;
use crate::gateway::Gateway;
use crate::holder::Held;
use crate::notes;
use crate::watch::Watched;

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

/// From one look at the configuration and the images to the next.
const LOOK: Duration = Duration::from_secs(1);

/// How long requests that are under way may take when we end.
const FAREWELL: Duration = Duration::from_secs(30);

/// Serves until it is told to end.
///
/// # Errors
/// What is wrong with the configuration; an address that is taken.
pub fn run(orders: &Orders) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
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
    gateway.apply(read(orders)?).await?;
    let control = control::listen(&orders.home)?;
    tokio::task::spawn_local(control::answer_all(Rc::clone(&gateway.front), control));
    tokio::task::spawn_local(Rc::clone(&gateway.house).tend());
    tokio::task::spawn_local(notes::write(Rc::clone(&gateway.front)));
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

fn read(orders: &Orders) -> Result<Config> {
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
        let watch = |kind| signal(kind).doing(|| "watching signals");
        Ok(Self {
            end: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            hang_up: watch(SignalKind::hangup())?,
        })
    }

    /// Does what comes, and looks at what may have changed, until it is told to end.
    async fn obey(&mut self, gateway: &Rc<Gateway>, orders: &Orders, holder: Option<&Watched>) -> Ends {
        let mut seen = Seen::now(orders);
        loop {
            tokio::select! {
                _ = self.end.recv() => return Ends::Leaving,
                _ = self.interrupt.recv() => return Ends::Stopping,
                // Nobody would begin another one of us: who does begins a gateway.
                () = is_gone(holder) => return Ends::Leaving,
                _ = self.hang_up.recv() => {
                    gateway.front.log.reopen();
                    reload(gateway, orders, true).await;
                }
                () = tokio::time::sleep(LOOK) => {
                    gateway.front.tls.refresh();
                    let now = Seen::now(orders);
                    let (config, images) = (now.config != seen.config, now.images != seen.images);
                    seen = now;
                    if config || images {
                        reload(gateway, orders, images).await;
                    }
                }
            }
        }
    }
}

/// When things were changed last.
struct Seen {
    config: Option<SystemTime>,
    images: Option<SystemTime>,
}

impl Seen {
    fn now(orders: &Orders) -> Self {
        let changed = |path: PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let images = changed(orders.home.lib().join("store/images"));
        let config = match &orders.plan {
            Plan::File(path) => changed(path.clone()),
            Plan::One { .. } => None,
        };
        Self { config, images }
    }
}

/// What is no good is told of, and changes nothing.
async fn reload(gateway: &Rc<Gateway>, orders: &Orders, images: bool) {
    let applied = match read(orders) {
        Ok(config) => gateway.apply(config).await,
        Err(error) => Err(error),
    };
    if let Err(error) = applied {
        let hints: String = error.hints().iter().map(|hint| format!("; {hint}")).collect();
        eprintln!("the configuration stays as it was: {}{hints}", error.chain());
    }
    if images {
        let services = gateway.house.services.borrow().clone();
        gateway.settle(&services).await;
        services.iter().for_each(|service| service.adjust());
    }
}
