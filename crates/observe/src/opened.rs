//! fanotify's events: what was opened, executed, written.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::FileType;
use spec::observation::Use;
use sys::fanotify::Event;

use crate::mounts::{Meta, path_of};
use crate::serve::{Server, broken};

/// After so many opens of one file its further ones are not looked at.
const OFTEN: u32 = 256;

impl Server {
    /// Handles a batch of events; true if more may be waiting.
    pub(crate) fn some_events(&mut self) -> spec::Result<bool> {
        let Some(fanotify) = &mut self.fanotify else { return Ok(false) };
        let batch = fanotify.read().map_err(|error| broken("reading fanotify's queue", error))?;
        if batch.overflow {
            return Err(broken("fanotify lost events", io::Error::other("its queue overflowed")));
        }
        for pid in batch.unknown {
            self.warn(pid, "opened something on the image that cannot be identified");
        }
        for event in batch.events {
            self.event(&event);
        }
        Ok(batch.full)
    }

    fn event(&mut self, event: &Event) {
        if event.pid == self.own {
            return;
        }
        let Ok(meta) = Meta::of(&event.file) else { return };
        let Some(mut path) = path_of(&event.file) else { return };
        if meta.links == 0 && path.ends_with(b" (deleted)") {
            path.truncate(path.len() - b" (deleted)".len());
        }
        let mount = self.places.mount(event.pid, &event.file, &meta);
        let place = mount.as_ref().and_then(|mount| self.places.place(mount, &path));
        let Some(place) = place else {
            if mount.is_none() && meta.links > 0 {
                let shown = String::from_utf8_lossy(&path);
                self.warn(event.pid, &format!("used {shown} in a mount namespace that is gone"));
            }
            return;
        };
        let by = self.programs.of(event.pid);
        let directory = meta.kind() == FileType::Directory;
        let what = event.what;
        if what.executed() {
            self.note(&place, Use::Executed, by);
        } else if what.opened() {
            self.note(&place, if directory { Use::Listed } else { Use::Opened }, by);
        }
        if what.written() {
            self.note(&place, Use::Changed, by);
        }
        if what.opened() && !directory {
            self.count_open(event, &meta);
        }
    }

    /// A file that is opened again and again (a page that is served thousands of times a second)
    /// has nothing new to tell, and each event costs its service time. The eBPF program goes on to
    /// see who opens it: without that all events are wanted.
    fn count_open(&mut self, event: &Event, meta: &Meta) {
        let count = self.opens.entry((meta.device, meta.inode)).or_default();
        *count = count.saturating_add(1);
        if *count == OFTEN && self.trace.is_some() {
            // Where the kernel refuses, it goes on to cost what it costs.
            let _ = self.fanotify.as_ref().map(|fanotify| fanotify.forget_opens(event.file.as_fd()));
        }
    }
}
