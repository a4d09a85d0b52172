//! e to the power of what is below zero: what is left of something after a while.

/// Below this the first terms of the series are as good as all.
const SHORT: f32 = 0.25;

/// e^(−`age`), where `age` is what passed, in time constants. Most ages are a small part of one, and each choice asks for
/// several: for those it is the series to its fourth power (Taylor's), off by less than a hundred-thousandth.
pub(crate) fn left(age: f32) -> f32 {
    if age > SHORT {
        return (-age).exp();
    }
    1.0 - age * (1.0 - age * (0.5 - age * (1.0 / 6.0 - age * (1.0 / 24.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_exponential_and_never_rises() {
        let mut before = f32::INFINITY;
        for step in 0..40_000_u16 {
            let age = f32::from(step) / 8_192.0;
            let (found, wanted) = (left(age), (-f64::from(age)).exp());
            assert!((f64::from(found) - wanted).abs() < 1e-5, "{age}: {found}, {wanted}");
            assert!(found <= before + 1e-6 && (0.0..=1.0).contains(&found), "{age}");
            before = found;
        }
        assert_eq!(left(0.0), 1.0);
    }
}
