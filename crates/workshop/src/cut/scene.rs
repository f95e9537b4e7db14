//! What every rule looks at: the base, its distribution packages, and what was used of it.

use std::collections::BTreeSet;
use std::ops::Bound;

use spec::observation::{PathUse, Stage, Use};
use spec::{Result, RootPath};

use super::CutRequest;
use crate::base_tree::{BaseTree, Node};
use crate::distribution::Distribution;

/// The request, and what was read for it.
pub(super) struct Scene<'a> {
    pub(super) request: &'a CutRequest<'a>,
    pub(super) tree: BaseTree,
    pub(super) distribution: Distribution,
    /// What was used and is in the base.
    pub(super) used: Vec<Used<'a>>,
    /// Every path that was asked for, found or not, as it was named and where it leads.
    asked_for: BTreeSet<RootPath>,
}

/// One path that was used.
pub(super) struct Used<'a> {
    /// As the observation names it.
    pub(super) path: &'a RootPath,
    /// Where it leads, all symlinks followed; itself where that is nowhere.
    pub(super) real: RootPath,
    /// How it was used.
    pub(super) usage: &'a PathUse,
}

/// A path that is written in this program.
pub(super) fn at(path: &str) -> RootPath {
    RootPath::normalise(path.as_bytes()).expect("a path written here holds no NUL")
}

/// Whether `path` belongs to the kernel or the runtime, never to a package.
pub(super) fn is_foreign(path: &RootPath) -> bool {
    matches!(path.as_bytes().split(|b| *b == b'/').nth(1), Some(b"proc" | b"sys" | b"dev"))
}

impl<'a> Scene<'a> {
    pub(super) fn new(request: &'a CutRequest<'a>) -> Result<Self> {
        let tree = BaseTree::read(request.base)?;
        let distribution = Distribution::read(&tree);
        let mut scene = Self { request, tree, distribution, used: Vec::new(), asked_for: BTreeSet::new() };
        let real_uses = request.observation.paths.iter().filter(|(path, _)| !is_foreign(path));
        for (path, usage) in real_uses {
            let way = scene.tree.resolve(path);
            scene.asked_for.extend([path.clone(), way.end.clone()]);
            let end = if way.found { way } else { scene.tree.resolve_entry(path) };
            if end.found && !is_foreign(&end.end) && is_use(usage) {
                scene.used.push(Used { path, real: end.end, usage });
            }
        }
        Ok(scene)
    }

    /// Whether anything was asked for at `path` or below it, found or not.
    pub(super) fn touched(&self, path: &str) -> bool {
        let top = at(path);
        let mut from = self.asked_for.range((Bound::Included(&top), Bound::Unbounded));
        // Between `/a` and `/a/b` may stand `/a-x`, so the first hit is not enough to say no.
        from.by_ref()
            .take_while(|path| path.as_bytes().starts_with(top.as_bytes()))
            .any(|p| p.is_within(&top))
    }

    /// What was used at `top` or below it.
    pub(super) fn used_below<'s>(&'s self, top: &'s RootPath) -> impl Iterator<Item = &'s Used<'a>> {
        self.used.iter().filter(|used| used.real.is_within(top))
    }

    /// The node at a real path.
    pub(super) fn node(&self, path: &RootPath) -> Option<&Node> {
        self.tree.node(path)
    }

    /// The names of the entries of the directory that `path` leads to, with their real paths.
    pub(super) fn entries(&self, path: &RootPath) -> Vec<(RootPath, &Node)> {
        let Some(real) = self.tree.real(path) else { return Vec::new() };
        let entries = self.node(&real).map(Node::entries).unwrap_or_default();
        entries.iter().map(|(name, node)| (real.join(name), node)).collect()
    }

    /// Where `program` is: a path, or a name that is looked up in the environment's PATH.
    pub(super) fn program(&self, program: &str) -> Option<RootPath> {
        if program.contains('/') {
            let from = self.request.cwd.join(b"x").link_target(program.as_bytes())?;
            return self.tree.real(&from);
        }
        let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let path = self.request.env.get("PATH").map_or(usual, String::as_str);
        path.split(':').filter(|directory| directory.starts_with('/')).find_map(|directory| {
            let real = self.tree.real(&at(directory).join(program.as_bytes()))?;
            self.node(&real)?.is_file().then_some(real)
        })
    }
}

impl Used<'_> {
    /// Whether it was used in this way.
    pub(super) fn was(&self, how: Use) -> bool {
        self.usage.how.contains(&how)
    }

    /// Whether its content was read or executed, or its entries listed.
    pub(super) fn was_read(&self) -> bool {
        [Use::Opened, Use::Executed, Use::Listed].into_iter().any(|how| self.was(how))
    }

    /// Whether it was first used by an exercise.
    pub(super) fn in_exercise(&self) -> bool {
        self.usage.stage == Stage::Exercise
    }
}

/// Whether the path was there to be used before the run.
fn is_use(usage: &PathUse) -> bool {
    usage.stamp.is_some() && usage.how.iter().any(|how| *how != Use::Missing)
}
