//! The child between clone and exec: walks the prepared operations.
//!
//! Nothing here may allocate, lock, panic or log: another thread of the parent may have held the
//! allocator's lock at the moment of the copy. Whatever is opened is closed by exec.

mod device;
mod devices;
mod enter;
mod exact;
mod groups;
pub(crate) mod init;
mod kernel;
mod landlock;
mod made;
mod mounts;
mod place;
mod process;
mod schedule;
mod users;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::Mode;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{DumpableBehavior, Signal};
use spec::plan::Shared;
use sys::seccomp::Instruction;
use sys::users::UserNamespace;

use self::mounts::Covers;
use crate::prepare::{FileSystem, Op, Place, Prepared, Users, detached};
use crate::report::{Fault, Message};

/// Everything that the child may look at.
pub(crate) struct Inherited<'a> {
    pub(crate) prepared: &'a Prepared,
    /// Both the channel for reports and the gate.
    pub(crate) channel: BorrowedFd<'a>,
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    pub(crate) listen: Option<&'a [Instruction]>,
    pub(crate) die_with_parent: bool,
    /// So many descriptors from 3 on are the program's.
    pub(crate) preserve: u32,
    /// What opens the gate, if not the channel.
    pub(crate) latch: Option<BorrowedFd<'a>>,
    /// Where failures are told besides the channel.
    pub(crate) report: Option<BorrowedFd<'a>>,
    /// Numbers of the descriptors to keep, sorted; all above the standard three.
    pub(crate) keep: &'a [RawFd],
    /// Signals that its program ignores; none of them has a handler.
    pub(crate) ignored: u64,
}

/// Where a walk stands.
pub(crate) struct Walk<'a> {
    inherited: &'a Inherited<'a>,
    root: Option<OwnedFd>,
    /// A procfs of its own, if a step takes one.
    procfs: Option<OwnedFd>,
    covers: Covers,
    /// Where clocks are set, opened while the kernel still gives it to us.
    clocks: Option<OwnedFd>,
    /// It is the caller's.
    borrows_procfs: bool,
    /// File systems that the second process may not make.
    early: [Option<OwnedFd>; 4],
    early_taken: usize,
    step: u32,
}

fn borrowed(root: &Option<OwnedFd>) -> Result<BorrowedFd<'_>, Fault> {
    root.as_ref().map(AsFd::as_fd).ok_or(Fault::from(Errno::BADF))
}

/// Runs the child; returns its exit code, which only matters where nothing was executed.
pub(crate) fn run(inherited: &Inherited<'_>) -> i32 {
    let covers = Covers::default();
    let early = [const { None }; 4];
    let mut walk = Walk {
        inherited,
        root: None,
        procfs: None,
        covers,
        clocks: None,
        borrows_procfs: false,
        early,
        early_taken: 0,
        step: u32::MAX,
    };
    let code = walk.all().unwrap_or_else(|fault| {
        walk.tell(Message::Failed { step: walk.step, fault });
        125
    });
    // An init has closed the root's descriptor behind its owner's back.
    std::mem::forget(walk);
    code
}

impl Walk<'_> {
    fn all(&mut self) -> Result<i32, Fault> {
        self.settle()?;
        self.begin()?;
        self.walk(0)
    }

    fn walk(&mut self, from: usize) -> Result<i32, Fault> {
        for (index, op) in self.inherited.prepared.ops.iter().enumerate().skip(from) {
            self.step = index as u32;
            match op {
                Op::Users(_) | Op::Enter { namespaces: sys::namespace::USER, .. }
                    if self.inherited.prepared.begins() =>
                {
                    self.mount_early();
                    self.execute(op)?;
                }
                Op::Begin { namespaces } => return self.second(index + 1, *namespaces),
                // Process 1 comes back with the exit code of its child, which goes on with the
                // walk in a process of its own.
                Op::Init { filter } => {
                    return init::fork_and_reap(filter, || self.rest(index + 1)).map_err(Fault::from);
                }
                op => self.execute(op)?,
            }
        }
        Err(Errno::NOEXEC.into())
    }

    /// Makes the container's process and ends. That is the caller's child, not ours.
    fn second(&mut self, from: usize, namespaces: u64) -> Result<i32, Fault> {
        let flags = sys::process::SIBLING | sys::process::WITHOUT_HANDLERS | namespaces;
        let made = sys::process::clone_child(flags, None, || {
            // Its first word, so that whatever it says later is known to be its.
            self.tell(Message::Begun);
            let settled = self.follow_parent().and_then(|()| enter::loopback(namespaces));
            if self.borrows_procfs {
                // Of its own process ids there may be one to be had.
                self.procfs = kernel::private_procfs().ok().or(self.procfs.take());
            }
            let ended = settled.and_then(|()| self.walk(from));
            ended.unwrap_or_else(|fault| {
                self.tell(Message::Failed { step: self.step, fault });
                125
            })
        });
        made.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(0)
    }

    /// Mounts what shows namespaces that the container's users will not own, while that is allowed.
    /// If it fails, so will their own attempt, and tells why.
    fn mount_early(&mut self) {
        let wanted = self.inherited.prepared.ops.iter().filter_map(|op| match op {
            Op::ExactMount { make, early: true, .. } => Some(make),
            _ => None,
        });
        for (slot, make) in self.early.iter_mut().zip(wanted) {
            *slot = detached(make).or_else(|_| exact::callers(make)).ok();
        }
    }

    /// One of those, in their order.
    fn next_early(&mut self) -> Option<OwnedFd> {
        let taken = self.early_taken;
        self.early_taken += 1;
        self.early.get_mut(taken)?.take()
    }

    fn rest(&mut self, from: usize) -> i32 {
        for (index, op) in self.inherited.prepared.ops.iter().enumerate().skip(from) {
            self.step = index as u32;
            if let Err(fault) = self.execute(op) {
                self.tell(Message::Failed { step: self.step, fault });
                return 125;
            }
        }
        125
    }

    /// What has to be so before the first step: alone, undumpable, with nothing of the parent's.
    fn settle(&self) -> Result<(), Fault> {
        // Until exec this process is the host's program: /proc/self/exe and its memory are not for
        // the eyes of a process in the container (2019-5736, 2024-21626).
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        self.follow_parent()?;
        for (fd, at) in self.inherited.stdio.iter().zip(0..) {
            sys::process::dup_onto(*fd, at)?;
        }
        self.close_others()?;
        sys::signal::reset(self.inherited.ignored);
        rustix::process::umask(Mode::empty());
        Ok(())
    }

    /// What steps take for granted, while there are all privileges and the host's paths.
    fn begin(&mut self) -> Result<(), Fault> {
        let prepared = self.inherited.prepared;
        match &prepared.network {
            Some(network) => sys::namespace::enter(network.as_fd(), sys::namespace::NET)?,
            None => enter::loopback(prepared.namespaces)?,
        }
        if prepared.keeps_root() {
            self.root = Some(enter::here()?);
        }
        if let Some(first) = prepared.takes_procfs() {
            self.step = first as u32;
            self.procfs = Some(match kernel::private_procfs() {
                Err(Fault { errno: Errno::PERM, .. }) => {
                    self.borrows_procfs = true;
                    kernel::callers_procfs()?
                }
                made => made?,
            });
        }
        let clocks = prepared.ops.iter().find_map(|op| match op {
            Op::Clocks { offsets } if prepared.begins() => Some(offsets),
            _ => None,
        });
        if let Some(offsets) = clocks {
            self.clocks = Some(kernel::open_own(self.procfs()?, offsets)?);
        }
        Ok(())
    }

    /// Asked again after every change of user, which makes the kernel forget it.
    fn follow_parent(&self) -> Result<(), Fault> {
        if self.inherited.die_with_parent {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        Ok(())
    }

    /// Closes at once, not by exec: an open end of another child's channel would keep its parent
    /// waiting for as long as we stand at our gate.
    fn close_others(&self) -> Result<(), Fault> {
        let mut from = 3 + self.inherited.preserve;
        for number in self.inherited.keep.iter().map(|fd| *fd as u32) {
            if number > from {
                sys::process::close_range(from, number - 1)?;
            }
            from = from.max(number + 1);
        }
        Ok(sys::process::close_range(from, u32::MAX)?)
    }

    fn execute(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::Groups { tasks, namespace } => groups::enter(tasks, *namespace),
            Op::Join { target, namespaces } => {
                self.root = Some(groups::join(target.as_fd(), *namespaces)?);
                Ok(())
            }
            Op::Enter { namespaces: sys::namespace::USER, file } => {
                users::enter_foreign(file.as_fd())?;
                self.follow_parent()
            }
            Op::Enter { namespaces, file } => match enter::enter(file.as_fd(), *namespaces)? {
                Some(root) => self.take_root(root),
                None => Ok(()),
            },
            Op::PrivateMounts => mounts::separate(),
            Op::LooseRoot { tree } => self.take_root(enter::again(tree.as_fd())?),
            Op::Chroot { root, moves } => {
                if *moves {
                    enter::move_root(self.root()?)?;
                }
                if let Some(root) = root {
                    self.take_root(enter::again(root.as_fd())?)?;
                }
                enter::change_root(self.root()?)
            }
            Op::Device(host) => device::show(self.root()?, host),
            Op::Domainname { name } => Ok(rustix::system::setdomainname(name.to_bytes())?),
            Op::Clocks { offsets } => match &self.clocks {
                Some(file) => kernel::put_clocks(file, offsets),
                None => kernel::set_clocks(self.procfs()?, offsets),
            },
            Op::EnterLater { file } => Ok(sys::namespace::enter(file.as_fd(), sys::namespace::PID)?),
            Op::Begin { .. } => Err(Errno::INVAL.into()),
            Op::Wait => self.wait(),
            Op::Nothing => Ok(()),
            Op::Root { tree, path } => {
                exact::root(tree.as_fd(), path)?;
                self.take_root(enter::again(tree.as_fd())?)
            }
            Op::ExactBind { at, source, recursive, finish } => {
                exact::bind(self.root()?, at, source, *recursive, *finish)
            }
            Op::ExactMount { at, make, finish, early } => {
                let instead = if *early { self.next_early() } else { None };
                let mount = exact::mount(borrowed(&self.root)?, at, make, *finish, instead)?;
                self.covers.remember(at, &make.kind, mount);
                Ok(())
            }
            Op::Again { at, finish } => exact::again(self.root()?, at, *finish),
            Op::GroupBind { at, group, attributes } => groups::bind(self.root()?, at, group, *attributes),
            Op::Node(node) => made::node(self.root()?, node),
            Op::Link { at, target } => made::link(self.root()?, at, target),
            Op::Console { at } => made::console(self.root()?, at, self.slave()),
            Op::Seal => mounts::seal(self.root()?),
            Op::Spread { propagation, recursive } => mounts::spread(self.root()?, *propagation, *recursive),
            Op::MemoryPolicy { mode, nodes } => Ok(sys::schedule::set_memory_policy(*mode, nodes)?),
            Op::Affinity(set) => Ok(rustix::thread::sched_setaffinity(None, set)?),
            Op::Keyring => process::make_keyring(),
            Op::Umask { mask } => {
                rustix::process::umask(*mask);
                Ok(())
            }
            Op::KernelFiles(files) => files.iter().try_for_each(|file| kernel::write(self.procfs()?, file)),
            Op::Schedule(schedule) => schedule::set(*schedule),
            Op::Own { namespaces } => self.own(*namespaces),
            Op::Landlock(rules) => landlock::restrict(self.root()?, rules),
            Op::Tree(bound) => self.take_root(mounts::tree(bound, self.made_users())?),
            Op::Share(shared) => mounts::cover_root(self.shared(*shared == Shared::Kept)?),
            Op::Scratch(made) => {
                self.take_root(mounts::scratch(made, self.shared(false)?, self.made_users())?)
            }
            Op::Part { at, part } => {
                mounts::part(self.root()?, at, part, self.shared(part.kept)?, self.made_users())
            }
            Op::FileSystem { at, make } => self.file_system(at, make),
            Op::Hierarchies { at, hierarchies } => groups::show(self.root()?, at, hierarchies),
            Op::Attach { at, mount, directory } => {
                mounts::attach(self.root()?, at, mount.as_fd(), *directory).map(drop)
            }
            Op::Bind { at, bound } => mounts::bind(self.root()?, at, bound, self.made_users()),
            Op::Devices(made) => {
                let empty = devices::place(self.root()?, made, self.slave())?;
                self.covers.remember_empty(empty);
                Ok(())
            }
            Op::Mask { path } => mounts::mask(borrowed(&self.root)?, &mut self.covers, path),
            Op::ReadOnly { path } => mounts::read_only(self.root()?, &self.covers, path),
            Op::Pivot => mounts::pivot(self.root()?),
            Op::Hostname { name } => Ok(rustix::system::sethostname(name.to_bytes())?),
            Op::Users(users) => self.enter_users(users),
            Op::Init { .. } => Err(Errno::INVAL.into()),
            Op::Session => process::session(self.slave()),
            Op::Sockets(sockets) => process::take_sockets(sockets),
            Op::Limit { resource, soft, hard, exact: false } => {
                Ok(sys::process::set_limit(*resource, *soft, *hard)?)
            }
            Op::Limit { resource, soft, hard, exact: true } => {
                Ok(sys::process::set_limit_of(0, *resource, *soft, *hard)?)
            }
            Op::Directory { path } => process::enter_directory(self.root()?, path),
            Op::Identity(identity) => {
                process::become_user(identity)?;
                self.follow_parent()
            }
            Op::NoNewPrivileges => Ok(rustix::thread::set_no_new_privs(true)?),
            Op::Filter { listens: true, .. } => Ok(()),
            Op::Filter { program, flags, .. } => Ok(sys::seccomp::load_with(program, *flags)?),
            Op::Gate => self.gate(),
            Op::Capabilities { sets } => {
                Ok(sys::capability::set_all(sets.permitted, sets.effective, sets.inheritable, sets.ambient)?)
            }
            Op::Execute { candidates, argv, env } => {
                let passed = self.inherited.preserve.max(self.inherited.prepared.sockets());
                Err(process::execute(candidates, argv, env, 3 + passed))
            }
        }
    }

    fn root(&self) -> Result<BorrowedFd<'_>, Fault> {
        borrowed(&self.root)
    }

    fn shared(&self, kept: bool) -> Result<BorrowedFd<'_>, Fault> {
        Ok(self.inherited.prepared.shares.of(kept)?)
    }

    fn made_users(&self) -> Option<&UserNamespace> {
        self.inherited.prepared.users.as_ref()
    }

    fn enter_users(&self, Users { joined, uid, gid }: &Users) -> Result<(), Fault> {
        let made = self.made_users().map(|made| &made.users);
        let namespace = joined.as_ref().or(made).ok_or(Errno::BADF)?;
        users::enter(namespace.as_fd(), *uid, *gid)?;
        self.follow_parent()
    }

    /// A network was made together with the user namespace: sysfs had to know it.
    fn own(&self, namespaces: u64) -> Result<(), Fault> {
        match self.made_users().and_then(|made| made.network.as_ref()) {
            Some(network) if namespaces == sys::namespace::NET => {
                sys::namespace::enter(network.as_fd(), namespaces)?;
                enter::loopback(namespaces)
            }
            _ => enter::make(namespaces),
        }
    }

    fn file_system(&mut self, at: &Place, make: &FileSystem) -> Result<(), Fault> {
        if *make.kind == *c"sysfs" {
            // It shows the network that it is mounted in: of the container's own, if it gets one.
            if let Some(network) = self.made_users().and_then(|made| made.network.as_ref()) {
                sys::namespace::enter(network.as_fd(), sys::namespace::NET)?;
            }
        }
        let mount = mounts::file_system(borrowed(&self.root)?, at, make)?;
        self.covers.remember(at, &make.kind, mount);
        Ok(())
    }

    fn procfs(&self) -> Result<BorrowedFd<'_>, Fault> {
        self.procfs.as_ref().map(AsFd::as_fd).ok_or(Fault::from(Errno::BADF))
    }

    fn take_root(&mut self, root: OwnedFd) -> Result<(), Fault> {
        self.root = Some(root);
        Ok(())
    }

    fn slave(&self) -> Option<BorrowedFd<'_>> {
        self.inherited.prepared.terminal.as_ref().map(|pair| pair.slave.as_fd())
    }

    /// Stands still until the parent says go. From the moment the listener is there, no system
    /// call with a path may happen before it does: nobody answers yet.
    fn gate(&self) -> Result<(), Fault> {
        let listener = match (self.inherited.listen, self.inherited.prepared.listening_filter()) {
            (Some(program), _) => Some(sys::seccomp::load_with_listener(program)?),
            (None, Some((program, flags))) => Some(sys::seccomp::load_with_listener_and(program, flags)?),
            (None, None) => None,
        };
        self.tell(Message::Ready { listener: listener.as_ref().map(AsRawFd::as_raw_fd) });
        // The parent takes the listener's descriptor over; ours is closed by exec.
        std::mem::forget(listener);
        match self.inherited.latch {
            Some(latch) => self.await_word(latch),
            None => {
                self.await_word(self.inherited.channel)?;
                self.must_have_parent()
            }
        }
    }

    /// The word may have been there before we were set to end with our parent: one that has ended
    /// since then lets nothing run.
    fn must_have_parent(&self) -> Result<(), Fault> {
        let word = Message::Ready { listener: None }.encode();
        match retry_on_intr(|| rustix::io::write(self.inherited.channel, &word)) {
            Err(Errno::PIPE) => sys::process::exit_now(125),
            _ => Ok(()),
        }
    }

    /// Stands still while the caller does something.
    fn wait(&self) -> Result<(), Fault> {
        self.tell(Message::Waiting);
        self.await_word(self.inherited.channel)
    }

    fn await_word(&self, from: BorrowedFd<'_>) -> Result<(), Fault> {
        let mut go = [0];
        match rustix::io::read(from, &mut go) {
            Ok(1) => Ok(()),
            Ok(_) => sys::process::exit_now(125),
            Err(error) => Err(error.into()),
        }
    }

    fn tell(&self, message: Message) {
        if let (Some(report), Message::Failed { .. }) = (self.inherited.report, message) {
            // First: without a parent the other one may be the end of this process.
            let _ = retry_on_intr(|| rustix::io::write(report, &message.encode()));
        }
        // Where the parent has gone there is nobody to tell.
        let _ = retry_on_intr(|| rustix::io::write(self.inherited.channel, &message.encode()));
    }
}
