//! Is an unknown name a known one mistyped, or a name that we do not know?
//!
//! The difference matters: forks of Caffe have fields of their own, and a file that has them should still be read, with a
//! warning. But a mistyped field that is skipped trains another net than the one that was meant.

/// How far an unknown name is from a known one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Nearest<'a> {
    /// Mistyped, as good as surely.
    Miss(&'a str),
    /// Similar enough to be worth a mention.
    Similar(&'a str),
    /// Like nothing known.
    None,
}

/// The known name that `name` comes nearest to.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Nearest<'a> {
    let mut best: Option<(bool, usize, &str)> = None;
    for candidate in known {
        let distance = strsim::osa_distance(name, candidate);
        let rank = (!is_miss(name, candidate), distance, candidate);
        if best.is_none_or(|best| rank < best) {
            best = Some(rank);
        }
    }
    match best {
        Some((false, _, candidate)) => Nearest::Miss(candidate),
        Some((true, distance, candidate)) => {
            // Nearly all of a layer's fields end so.
            let own = name.strip_suffix("_param").unwrap_or(name);
            if distance <= own.chars().count() / 4 {
                Nearest::Similar(candidate)
            } else {
                Nearest::None
            }
        }
        _ => Nearest::None,
    }
}

/// True where `name` is `known` mistyped: the same but for case and underscores, or the same words but for a slip of
/// the fingers in them.
fn is_miss(name: &str, known: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let (plain_name, plain_known) = (plain(name), plain(known));
    if plain_name == plain_known || plural(&plain_name, &plain_known) {
        return true;
    }
    let (name, known) = (name.to_ascii_lowercase(), known.to_ascii_lowercase());
    match (name.strip_suffix("_param"), known.strip_suffix("_param")) {
        // `selu_param` is no slip for `elu_param`: a fork's own layers often have names near Caffe's.
        (Some(name), Some(known)) => name.len().max(known.len()) >= 7 && same_words(name, known),
        _ => same_words(&name, &known),
    }
}

fn plural(a: &str, b: &str) -> bool {
    a.strip_suffix('s') == Some(b) || b.strip_suffix('s') == Some(a)
}

fn same_words(name: &str, known: &str) -> bool {
    if name.split('_').count() == known.split('_').count() {
        name.split('_')
            .zip(known.split('_'))
            .all(|(a, b)| a == b || slip(a, b))
    } else {
        // An underscore too many or too few, and a slip besides.
        name.len() >= 8 && slip(&name.replace('_', ""), &known.replace('_', ""))
    }
}

/// True where one word is the other mistyped. Words that differ in a digit, or are short, are different words:
/// `momentum2`, `pad_d`.
fn slip(word: &str, known: &str) -> bool {
    let digits = |text: &str| {
        text.chars()
            .filter(char::is_ascii_digit)
            .collect::<String>()
    };
    if digits(word) != digits(known) {
        return false;
    }
    let (short, long) = (word.len().min(known.len()), word.len().max(known.len()));
    let distance = strsim::osa_distance(word, known);
    let same_start = word.chars().next() == known.chars().next();
    match distance {
        1 if short == long => {
            let swapped = {
                let mut a: Vec<char> = word.chars().collect();
                let mut b: Vec<char> = known.chars().collect();
                a.sort_unstable();
                b.sort_unstable();
                a == b
            };
            swapped && short >= 3 || same_start && short >= 4
        }
        1 => long >= 4 && (same_start || long >= 6),
        2 => same_start && short >= 7,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn miss(name: &str, known: &str) -> bool {
        nearest(name, std::iter::once(known)) == Nearest::Miss(known)
    }

    #[test]
    fn slips_are_misses() {
        for (name, known) in [
            ("num_outputs", "num_output"),
            ("numoutput", "num_output"),
            ("num_ouput", "num_output"),
            ("kernelsize", "kernel_size"),
            ("Kernel_Size", "kernel_size"),
            ("kernal_size", "kernel_size"),
            ("tpo", "top"),
            ("botom", "bottom"),
            ("bottoms", "bottom"),
            ("lr_mul", "lr_mult"),
            ("weight_filer", "weight_filler"),
            ("max_iters", "max_iter"),
            ("convolution_params", "convolution_param"),
            ("convoltion_param", "convolution_param"),
            ("pooing_param", "pooling_param"),
            ("innerproduct_param", "inner_product_param"),
            ("gama", "gamma"),
            ("momentun", "momentum"),
        ] {
            assert!(miss(name, known), "{name} for {known}");
        }
    }

    #[test]
    fn names_of_forks_are_not() {
        for (name, known) in [
            ("selu_param", "elu_param"),
            ("relu6_param", "relu_param"),
            ("prelu_param", "relu_param"),
            ("pad_d", "pad_h"),
            ("kernel_d", "kernel_w"),
            ("kernel_depth", "kernel_h"),
            ("momentum3", "momentum2"),
            ("patch_size", "batch_size"),
            ("out_height", "new_height"),
            ("tan_param", "tanh_param"),
            ("mean_file2", "mean_file"),
            ("bn_mode", "pool"),
        ] {
            assert!(!miss(name, known), "{name} for {known}");
        }
    }
}
