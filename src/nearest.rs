//! What was a name meant to be? For "did you mean" in errors.

/// The one of `names` that is near enough to `name` to be what was meant, if any: at most a third of the letters off,
/// case aside.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    names
        .into_iter()
        .map(|n| (strsim::damerau_levenshtein(&n.to_lowercase(), &wanted), n))
        .filter(|&(d, n)| d <= (n.chars().count().max(name.chars().count()) / 3).max(1))
        .min()
        .map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far() {
        let names = ["Convolution", "Pooling", "ReLU"];
        assert_eq!(nearest("Relu", names), Some("ReLU"));
        assert_eq!(nearest("Convolutoin", names), Some("Convolution"));
        assert_eq!(nearest("Silence", names), None);
        assert_eq!(nearest("", []), None);
    }
}
