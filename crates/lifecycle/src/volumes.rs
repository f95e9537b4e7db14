//! Declared volumes: directories of the host that start as copies of what the image has there.

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use spec::portable::{Portable, volume_name};
use spec::{Error, Result, ResultExt, RootPath};

/// Makes and fills in `dir` those volumes of `portable` that are not there yet.
pub(crate) fn prepare(portable: &Portable, tree: &Path, dir: &Path) -> Result<()> {
    for at in &portable.volumes {
        let target = dir.join(volume_name(at));
        if !target.exists() {
            fill(at, tree, &target).doing(|| format!("preparing the volume {at}"))?;
        }
    }
    Ok(())
}

/// Under another name first: a volume that is there is complete.
fn fill(at: &RootPath, tree: &Path, target: &Path) -> Result<()> {
    let mut temporary = target.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = Path::new(&temporary);
    crate::disk::remove_tree(temporary)?;
    let making = || format!("making {}", temporary.display());
    DirBuilder::new().recursive(true).mode(0o755).create(temporary).doing(making)?;
    let root = File::open(tree).doing(|| format!("opening {}", tree.display()))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, at.relative(), flags, Mode::empty(), inside) {
        Ok(source) => {
            let to = File::open(temporary).doing(making)?;
            runtime::seed::copy_tree(source.as_fd(), to.as_fd())
                .doing(|| format!("copying {at} of the image"))?;
        }
        Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(Error::io(format!("opening {at} of the image"), error.into())),
    }
    fs::rename(temporary, target).doing(making)
}
