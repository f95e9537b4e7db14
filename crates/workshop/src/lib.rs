//! Floor 4: from development to production - dev, test, pack.
