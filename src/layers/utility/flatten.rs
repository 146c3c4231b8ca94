//! Flatten: y = x, with the axes from `axis` to `end_axis` as one.   dx = dy.
//!
//! Shapes: the axes in between become one whose extent is their product. No work: y is x under another shape.
//! Departure: bottom and top may have one name, which Caffe refuses.

use crate::{
    error::{Error, Result},
    layer::{Forward, Layer, LayerType, Sharing, Traits},
    schema::FlattenParameter,
    tensor::Shape,
};

pub(super) const TYPE: LayerType = LayerType::new("Flatten", |def| {
    Ok(Box::new(Flatten(
        def.param.flatten_param.unwrap_or_default(),
    )))
});

struct Flatten(FlattenParameter);

impl Layer for Flatten {
    fn reshape(&mut self, bottoms: &[Shape]) -> Result<Vec<Shape>> {
        let x = &bottoms[0];
        let axis = |field: &str, index: i32| {
            x.axis(index)
                .map_err(|error| Error::param(field, error.message()))
        };
        let first = axis("flatten_param.axis", self.0.axis())?;
        let last = axis("flatten_param.end_axis", self.0.end_axis())?;
        if last < first {
            return Err(Error::param(
                "flatten_param.end_axis",
                format!("axis {last} of {x} comes before axis {first}, where flattening starts"),
            ));
        }
        let mut y = x.dims()[..first].to_vec();
        y.push(x.count_range(first, last + 1));
        y.extend(&x.dims()[last + 1..]);
        Ok(vec![Shape::new(&y)])
    }

    fn traits(&self) -> Traits {
        Traits {
            sharing: Sharing::Alias,
            ..Traits::default()
        }
    }

    fn forward(&mut self, _: &mut Forward<'_, '_>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer::testing::{Bench, check_gradient, error_of, noise};

    fn shape(options: &str) -> Vec<usize> {
        let text = format!("type: 'Flatten' flatten_param {{ {options} }}");
        let bench = Bench::new(&text, &[noise(&[2, 3, 4, 5], 1)]);
        bench.tops[0].shape.dims().to_vec()
    }

    #[test]
    fn shapes() {
        assert_eq!(shape(""), [2, 60]);
        assert_eq!(shape("axis: 0"), [120]);
        assert_eq!(shape("axis: 1 end_axis: -2"), [2, 12, 5]);
        assert_eq!(shape("axis: -1"), [2, 3, 4, 5]);
        assert_eq!(shape("axis: 0 end_axis: 1"), [6, 4, 5]);
    }

    #[test]
    fn passes_through() {
        let x = noise(&[2, 3, 0], 1);
        assert_eq!(
            Bench::new("type: 'Flatten'", &[x]).tops[0].shape.dims(),
            [2, 0]
        );
        check_gradient("type: 'Flatten'", &[noise(&[2, 3, 2], 1)], &[0], &[]);
    }

    #[test]
    fn errors() {
        let x = [noise(&[2, 3, 4], 1)];
        let error = error_of("type: 'Flatten' flatten_param { axis: 3 }", &x);
        assert!(
            error.contains("flatten_param.axis: axis 3 is outside"),
            "{error}"
        );
        let error = error_of("type: 'Flatten' flatten_param { axis: 2 end_axis: 1 }", &x);
        assert!(
            error.contains("axis 1 of [2, 3, 4] comes before axis 2"),
            "{error}"
        );
    }
}
