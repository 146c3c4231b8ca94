//! The part of a net that some blobs need.

use std::collections::HashSet;

use crate::schema::NetParameter;

/// Takes out the layers on which none of `blobs` depends, whatever the rules of inclusion say of them later. Returns,
/// for each layer that stays, its index before. A blob is what the last layer of its name makes; layers that write
/// over it stay.
pub fn keep_needed(net: &mut NetParameter, blobs: &[String]) -> Vec<usize> {
    let mut needed: HashSet<String> = blobs.iter().cloned().collect();
    let mut stays = vec![false; net.layer.len()];
    for (layer, stays) in net.layer.iter().zip(&mut stays).rev() {
        *stays = layer.top.iter().any(|top| needed.contains(top));
        if *stays {
            needed.extend(layer.bottom.iter().cloned());
        }
    }
    let mut flags = stays.iter();
    net.layer.retain(|_| flags.next() == Some(&true));
    (0..stays.len()).filter(|&i| stays[i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::LayerParameter;

    #[test]
    fn what_lies_behind_or_beside_goes() {
        let layer = |bottoms: &[&str], tops: &[&str]| LayerParameter {
            bottom: bottoms.iter().map(|&b| b.to_owned()).collect(),
            top: tops.iter().map(|&t| t.to_owned()).collect(),
            ..Default::default()
        };
        let mut net = NetParameter {
            layer: vec![
                layer(&[], &["data", "label"]),
                layer(&["data"], &["conv"]),
                layer(&["conv"], &["side"]),
                layer(&["conv"], &["conv"]),
                layer(&["conv"], &["prob"]),
                layer(&["prob", "label"], &["loss"]),
            ],
            ..Default::default()
        };
        let mut conv = net.clone();
        assert_eq!(keep_needed(&mut conv, &["conv".into()]), [0, 1, 3]);
        assert_eq!(conv.layer.len(), 3);
        assert_eq!(
            keep_needed(&mut net, &["side".into(), "prob".into()]),
            [0, 1, 2, 3, 4]
        );
        assert!(keep_needed(&mut net, &[]).is_empty());
    }
}
