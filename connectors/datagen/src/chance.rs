//! Numbers by chance that are the same for ever: SplitMix64, begun anew for each record.

/// A sequence of numbers that its beginning settles.
pub(crate) struct Chance(u64);

/// What is added to its state each time.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Chance {
    /// For the record of that number, of a stream of a seed.
    pub(crate) fn new(seed: u64, stream: u64, number: u64) -> Self {
        let stream = mix(seed).wrapping_add(mix(stream.wrapping_add(STEP)));
        Self(mix(stream ^ mix(number)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u32
    }

    /// From `start` to below `end`.
    pub(crate) fn within(&mut self, start: u32, end: u32) -> u32 {
        start + self.below(end - start)
    }

    /// From 0 to below 1.
    pub(crate) fn share(&mut self) -> f64 {
        // As many bits as the digits of a double hold.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn of<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len() as u32) as usize]
    }

    pub(crate) fn uuid(&mut self) -> String {
        let hex = format!("{:016x}{:016x}", self.next(), self.next());
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored offsets would mean other records if these changed.
    #[test]
    fn a_beginning_settles_all_numbers() {
        let mut chance = Chance(1_234_567);
        // The published test vector of SplitMix64.
        assert_eq!(
            [chance.next(), chance.next(), chance.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn numbers_are_spread_over_their_range() {
        let mut counts = [0; 10];
        for number in 0..10_000 {
            counts[Chance::new(7, 1, number).below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        assert!((0..1000).all(|number| (0.0..1.0).contains(&Chance::new(7, 1, number).share())));
        assert_eq!(Chance::new(1, 1, 1).uuid().len(), 36);
    }
}
