//! Medians, and how far they can be trusted.

/// A median with an interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// With 95 % confidence it is not below this.
    pub low: f64,
    /// Nor above this.
    pub high: f64,
}

/// The median; of an even number the mean of the two in the middle. `None`: no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = if sorted.len().is_multiple_of(2) { *sorted.get(sorted.len() / 2 - 1)? } else { upper };
    Some((lower + upper) / 2.0)
}

/// The median of `values`, with the 95 % percentile interval of a bootstrap: the medians of `RESAMPLES` samples drawn with
/// replacement, from a fixed seed. `None`: no values.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    const RESAMPLES: usize = 2000;
    let middle = median(values)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = || {
        // xorshift64: any even spread does.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        values[(state % values.len() as u64) as usize]
    };
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| median(&(0..values.len()).map(|_| draw()).collect::<Vec<_>>()))
        .collect();
    medians.sort_by(f64::total_cmp);
    Some(Estimate {
        median: middle,
        low: medians[RESAMPLES * 25 / 1000],
        high: medians[RESAMPLES * 975 / 1000 - 1],
    })
}

/// The distance between the quartiles as a part of the median: how uneven the values are. 0 of fewer than four.
pub fn spread(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (median(&sorted), sorted.len()) {
        (Some(middle), len) if len >= 4 && middle > 0.0 => (sorted[len * 3 / 4] - sorted[len / 4]) / middle,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_their_intervals() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        let same = estimate(&[7.0; 15]).unwrap();
        assert_eq!((same.median, same.low, same.high), (7.0, 7.0, 7.0));
        let values: Vec<f64> = (1..=15).map(f64::from).collect();
        let some = estimate(&values).unwrap();
        assert_eq!(some.median, 8.0);
        // The exact 95 % interval by ranks is 4 to 12.
        assert!((3.0..=6.0).contains(&some.low) && (10.0..=13.0).contains(&some.high), "{some:?}");
        assert_eq!(estimate(&values), Some(some), "drawn from a fixed seed");
    }

    #[test]
    fn spread_is_that_of_the_middle_half() {
        assert_eq!(spread(&[1.0, 9.0]), 0.0);
        assert_eq!(spread(&[10.0, 10.0, 10.0, 1000.0]), 99.0);
        assert_eq!(spread(&[10.0; 8]), 0.0);
    }
}
