//! Floor 2: content-addressed objects, images, packages.
