//! Reading the Prometheus text that the program serves.

/// One scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Samples {
    /// Every line that is a sample; comments are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// Whether there is no sample at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of all samples of `name` that have `labels`; 0 without any.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// The samples of which label `label` is `value`, and all others.
    #[must_use]
    pub fn split(&self, label: &str, value: &str) -> (Self, Self) {
        let is = |sample: &&Sample| sample.labels.iter().any(|(l, v)| l == label && v == value);
        let (those, others) = self.0.iter().partition::<Vec<_>, _>(is);
        (Self(those.into_iter().cloned().collect()), Self(others.into_iter().cloned().collect()))
    }

    /// Quantile `q` (0 to 1) of the histogram `name`, label values together: the upper bound of the bucket that holds it, in the
    /// histogram's unit. None without observations, or if it lies above the last bound.
    #[must_use]
    pub fn quantile(&self, name: &str, q: f64) -> Option<f64> {
        let bucket = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.matching(&bucket, &[]) {
            let (_, bound) = sample.labels.iter().find(|(label, _)| label == "le")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let (_, total) = *buckets.last()?;
        let (bound, _) = *buckets.iter().find(|(_, count)| total > 0.0 && *count >= q * total)?;
        bound.is_finite().then_some(bound)
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample, label: &str, value: &str| sample.labels.iter().any(|(l, v)| l == label && v == value);
        self.0.iter().filter(move |sample| sample.name == name && labels.iter().all(|(label, value)| has(sample, label, value)))
    }
}

/// `name{label="value",...} 1.5`. Label values of ours hold no quotes and commas.
fn sample(line: &str) -> Option<Sample> {
    let (name, labels, value) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, value) = rest.split_once('}')?;
            (name, labels, value)
        }
        None => {
            let (name, value) = line.split_once(' ')?;
            (name, "", value)
        }
    };
    let labels = labels.split(',').filter_map(|pair| pair.split_once('='));
    Some(Sample {
        name: name.to_owned(),
        labels: labels.map(|(label, value)| (label.to_owned(), value.trim_matches('"').to_owned())).collect(),
        value: value.split_whitespace().next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x_total Things.\n# TYPE x counter\nx_total{topic=\"a\",kind=\"k\"} 2\nx_total{topic=\"b\"} 3\nup 1\n\
                        d_bucket{stage=\"s\",le=\"0.01\"} 90\nd_bucket{stage=\"s\",le=\"0.1\"} 99\nd_bucket{stage=\"s\",le=\"+Inf\"} 100\n# EOF\n";

    #[test]
    fn sums_go_over_all_labels_or_those_that_are_asked_for() {
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.sum("x_total", &[]), 5.0);
        assert_eq!(samples.sum("x_total", &[("topic", "a")]), 2.0);
        assert_eq!(samples.sum("up", &[]), 1.0);
        assert_eq!(samples.sum("absent", &[]), 0.0);
    }

    #[test]
    fn a_quantile_is_the_bound_of_its_bucket() {
        let samples = Samples::parse(TEXT);
        assert_eq!(samples.quantile("d", 0.5), Some(0.01));
        assert_eq!(samples.quantile("d", 0.99), Some(0.1));
        assert_eq!(samples.quantile("d", 1.0), None);
    }

    #[test]
    fn a_split_leaves_nothing_out() {
        let (a, others) = Samples::parse(TEXT).split("topic", "a");
        assert_eq!(a.sum("x_total", &[]), 2.0);
        assert_eq!(others.sum("x_total", &[]), 3.0);
        assert_eq!(others.sum("up", &[]), 1.0);
    }
}
