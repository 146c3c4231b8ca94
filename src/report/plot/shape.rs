//! What a plot is made of, before it is known whether it becomes SVG or pixels.

/// A place: to the right, downwards.
pub(super) type Place = (f64, f64);

/// What is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Words that matter.
    Text,
    /// Numbers along the axes.
    Faint,
    /// Lines across the plot.
    Grid,
    /// The axes.
    Axis,
    /// Upright lines with a word.
    Mark,
    /// A curve's colour, by its number.
    Curve(usize),
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// Where its base line is.
    pub(super) at: Place,
    pub(super) text: String,
    pub(super) ink: Ink,
    pub(super) anchor: Anchor,
    /// Larger than the others.
    pub(super) title: bool,
    /// Runs upwards.
    pub(super) turned: bool,
    /// Stands out from what it covers.
    pub(super) halo: bool,
}

impl Text {
    pub(super) fn new(at: Place, text: impl Into<String>, ink: Ink, anchor: Anchor) -> Self {
        Self {
            at,
            text: text.into(),
            ink,
            anchor,
            title: false,
            turned: false,
            halo: false,
        }
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stroke {
    /// One unit thin.
    #[default]
    Thin,
    /// As a curve.
    Curve,
    /// As a curve, in dashes.
    Dashed,
    /// Broad and pale.
    Broad,
}

/// A part of a plot.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Line {
        points: Vec<Place>,
        ink: Ink,
        stroke: Stroke,
    },
    Dot {
        at: Place,
        radius: f64,
        ink: Ink,
    },
    Text(Text),
    /// A curve with its name.
    Curve {
        name: String,
        parts: Vec<Shape>,
    },
}
