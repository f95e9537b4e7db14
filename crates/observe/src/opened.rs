//! fanotify's events: what was opened, executed, written.

use std::io;

use rustix::fs::FileType;
use spec::observation::Use;
use sys::fanotify::Event;

use crate::mounts::{Meta, path_of};
use crate::serve::{Server, broken};

impl Server {
    /// Handles a batch of events; true if more may be waiting.
    pub(crate) fn some_events(&mut self) -> spec::Result<bool> {
        let batch = self.fanotify.read().map_err(|error| broken("reading fanotify's queue", error))?;
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
    }
}
