//! Several measurements of one thing.

/// Times in milliseconds, or any other unit that is the same for all.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = f64>) {
        self.0.extend(more);
        self.0.sort_by(f64::total_cmp);
    }

    /// The value below which `share` of the samples lie.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn quantiles_of_a_few() {
        let mut samples = super::Samples::default();
        samples.extend([3.0, 1.0, 2.0]);
        assert_eq!((samples.quantile(0.0), samples.median(), samples.quantile(1.0)), (1.0, 2.0, 3.0));
    }
}
