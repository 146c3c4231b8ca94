//! Shapes instead of records: a net whose data is not at hand, built all the same.

use crate::{
    error::{Error, Result},
    schema::{BlobShape, InputParameter, LayerParameter, NetParameter},
    tensor::Shape,
};

/// Makes inputs of the layers that bring data, that is those without bottoms, where `shapes` has all of their tops. Their
/// rules of inclusion stay.
///
/// # Errors
/// `Param` for a name that no such layer makes, and where a layer has some of its tops in `shapes` and others not.
pub fn stand_in(net: &mut NetParameter, shapes: &[(String, Shape)]) -> Result<()> {
    let shape_of = |top: &String| shapes.iter().find(|(name, _)| name == top);
    let mut used = vec![false; shapes.len()];
    for layer in &mut net.layer {
        let given: Vec<&Shape> = (layer.top.iter())
            .filter_map(shape_of)
            .map(|(_, shape)| shape)
            .collect();
        if !layer.bottom.is_empty() || given.is_empty() {
            continue;
        }
        if let Some(missing) = layer.top.iter().find(|top| shape_of(top).is_none()) {
            return Err(Error::param(
                "--shape",
                format!(
                    "layer '{}' makes {}, and there is no shape for '{missing}'",
                    layer.name(),
                    layer.top.join(" and ")
                ),
            )
            .help("give the shapes of all of its tops: --shape=data:1x3x227x227,label:1"));
        }
        for (used, (name, _)) in used.iter_mut().zip(shapes) {
            *used |= layer.top.contains(name);
        }
        let dims = |shape: &Shape| BlobShape {
            dim: shape.dims().iter().map(|&d| d as i64).collect(),
        };
        *layer = LayerParameter {
            name: layer.name.take(),
            r#type: Some("Input".to_owned()),
            top: std::mem::take(&mut layer.top),
            include: std::mem::take(&mut layer.include),
            exclude: std::mem::take(&mut layer.exclude),
            input_param: Some(InputParameter {
                shape: given.into_iter().map(dims).collect(),
            }),
            ..LayerParameter::default()
        };
    }
    match used.iter().position(|used| !used) {
        None => Ok(()),
        Some(i) => {
            let made = net.layer.iter().filter(|l| l.bottom.is_empty());
            let tops: Vec<&str> = made.flat_map(|l| &l.top).map(String::as_str).collect();
            Err(Error::param(
                "--shape",
                format!("no layer brings '{}' from outside", shapes[i].0),
            )
            .help(format!("what comes from outside is: {}", tops.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::NetStateRule;

    fn net() -> NetParameter {
        let data = |rule: i32| LayerParameter {
            name: Some("data".into()),
            r#type: Some("Data".into()),
            top: vec!["data".into(), "label".into()],
            include: vec![NetStateRule {
                phase: Some(rule),
                ..Default::default()
            }],
            ..Default::default()
        };
        NetParameter {
            layer: vec![data(0), data(1)],
            ..Default::default()
        }
    }

    fn shapes(names: &[&str]) -> Vec<(String, Shape)> {
        let shape = |name: &&str| ((*name).to_owned(), Shape::new(&[2, 3]));
        names.iter().map(shape).collect()
    }

    #[test]
    fn data_becomes_input_in_each_phase() {
        let mut made = net();
        stand_in(&mut made, &shapes(&["label", "data"])).unwrap();
        for (layer, before) in made.layer.iter().zip(net().layer) {
            assert_eq!((layer.r#type(), &layer.top), ("Input", &before.top));
            assert_eq!(layer.include, before.include);
            assert_eq!(layer.input_param.as_ref().unwrap().shape.len(), 2);
        }
        let mut same = net();
        stand_in(&mut same, &[]).unwrap();
        assert_eq!(same, net());
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let error = |names: &[&str]| {
            stand_in(&mut net(), &shapes(names))
                .unwrap_err()
                .to_string()
        };
        assert!(error(&["data"]).contains("no shape for 'label'"));
        assert!(error(&["data", "label", "x"]).contains("no layer brings 'x'"));
    }
}
