//! Against what OpenCV 4.12 computed: fixtures/reference/make/feed.py.

use std::{collections::BTreeMap, path::Path};

use super::{geometry::tests::between, *};
use crate::{model_io::npz, tensor::Tensor};

fn record() -> BTreeMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed/opencv.npz");
    npz::read_npz(&path).unwrap()
}

fn picture(tensor: &Tensor) -> Picture {
    let (height, width, channels) = match *tensor.shape.dims() {
        [h, w, c] => (h, w, c),
        [h, w] => (h, w, 1),
        ref other => panic!("{other:?}"),
    };
    Picture {
        channels,
        height,
        width,
        pixels: tensor.data.iter().map(|&v| v as u8).collect(),
    }
}

/// The largest difference, and how many pixels differ.
#[track_caller]
fn difference(got: &Picture, want: &Picture) -> (u8, usize) {
    assert_eq!(
        [got.channels, got.height, got.width],
        [want.channels, want.height, want.width]
    );
    let far = got.pixels.iter().zip(&want.pixels);
    let far: Vec<u8> = far.map(|(a, b)| a.abs_diff(*b)).collect();
    let differing = far.iter().filter(|d| **d > 0).count();
    (far.into_iter().max().unwrap_or(0), differing)
}

#[test]
fn resizing_is_opencv_s() {
    let record = record();
    let mut failures = Vec::new();
    let mut cases = 0;
    for (key, want) in &record {
        let mut parts = key.split('/');
        let from = match parts.next() {
            Some("resize") => "image",
            Some("halved") => "half",
            _ => continue,
        };
        let (how, most) = match parts.next().unwrap() {
            "nearest" => (Interpolation::Nearest, 0),
            "linear" => (Interpolation::Linear, 0),
            "cubic" => (Interpolation::Cubic, 1),
            "area" => (Interpolation::Area, 1),
            "lanczos4" => (Interpolation::Lanczos4, 1),
            other => panic!("{other}"),
        };
        let want = picture(want);
        let got = resize(&picture(&record[from]), want.height, want.width, how).unwrap();
        let (far, differing) = difference(&got, &want);
        cases += 1;
        if far > most || differing * 50 > want.pixels.len() {
            failures.push(format!(
                "{key}: by {far}, {differing} of {}",
                want.pixels.len()
            ));
        }
    }
    assert!(cases > 50, "{cases}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn perspective_is_opencv_s() {
    let record = record();
    let soft = picture(&record["soft"]);
    let corners = |key: &str| -> [[f64; 2]; 4] {
        let values: Vec<f64> = record[key].data.iter().map(|&v| f64::from(v)).collect();
        std::array::from_fn(|i| [values[2 * i], values[2 * i + 1]])
    };
    for mode in 1..=3 {
        let warp = between(
            (soft.height, soft.width),
            mode,
            corners("warp/seen"),
            corners("warp/shown"),
        );
        let want = picture(&record[&format!("warp/linear/{mode}")]);
        // A constant beyond the edge is a step, which moves by up to 1/64 pixel.
        let most = if mode == 1 { 6 } else { 2 };
        let (far, _) = difference(&warp.apply(&soft), &want);
        assert!(far <= most, "linear, border {mode}: by {far}");
        let want = picture(&record[&format!("warp/nearest/{mode}")]);
        let (_, differing) = difference(&warp.apply_nearest(&soft), &want);
        assert!(
            differing * 100 <= want.pixels.len(),
            "nearest, border {mode}: {differing} differ"
        );
    }
    let warp = between((40, 56), 1, corners("warp/seen"), corners("warp/shown"));
    // The box of these points in the middle image, and where its corners come to lie.
    let of = [4.0 / 56.0, 10.0 / 40.0, 34.0 / 56.0, 30.0 / 40.0];
    let projected = corners("warp/projected");
    let [got] = warp.boxes(of)[..] else {
        panic!("one box is seen");
    };
    let span = |axis: usize, side: f64| {
        let values = projected.map(|p| p[axis] / side);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least.clamp(0.0, 1.0), most.clamp(0.0, 1.0))
    };
    let ((xmin, xmax), (ymin, ymax)) = (span(0, 56.0), span(1, 40.0));
    for (got, want) in got.into_iter().zip([xmin, ymin, xmax, ymax]) {
        assert!((f64::from(got) - want).abs() < 1e-5, "{got} for {want}");
    }
}

#[test]
fn colors_are_opencv_s() {
    let record = record();
    let colors = picture(&record["colors"]);
    let each = |f: fn([u8; 3]) -> [u8; 3]| {
        let mut out = colors.clone();
        for pixel in out.pixels.as_chunks_mut::<3>().0 {
            *pixel = f(*pixel);
        }
        out
    };
    for (key, got, most) in [
        ("hsv", each(color::to_hsv), 0),
        ("from_hsv", each(color::from_hsv), 1),
        ("ycrcb", each(color::to_ycrcb), 0),
        ("from_ycrcb", each(color::from_ycrcb), 0),
        ("lab", each(color::to_lab), 1),
    ] {
        let (far, differing) = difference(&got, &picture(&record[key]));
        assert!(far <= most, "{key}: by {far}, {differing} values");
    }
    let gray = Picture {
        channels: 1,
        pixels: (colors.pixels.as_chunks::<3>().0.iter())
            .map(|p| color::to_gray(*p))
            .collect(),
        ..colors
    };
    assert_eq!(difference(&gray, &picture(&record["gray"])).0, 0);
}

#[test]
fn filters_are_opencv_s() {
    let record = record();
    let noisy = picture(&record["noisy"]);
    let plane = Picture {
        channels: 1,
        pixels: noisy.pixels.iter().step_by(3).copied().collect(),
        ..noisy
    };
    let changed = |f: fn(&mut Picture)| {
        let mut out = plane.clone();
        f(&mut out);
        out
    };
    for (key, got, most) in [
        ("blur", neighbours::blur(&noisy), 0),
        ("erode", neighbours::erode(&noisy), 0),
        ("equalize", changed(equalize::equalize), 0),
        ("clahe", changed(equalize::clahe), 1),
    ] {
        let (far, differing) = difference(&got, &picture(&record[key]));
        assert!(far <= most, "{key}: by {far}, {differing} values");
    }
}

#[test]
fn samples_come_back_as_they_were() {
    for channels in [1, 2, 3, 5] {
        let bytes: Vec<u8> = (0..channels * 6).map(|v| v as u8).collect();
        let sample = Sample {
            channels,
            height: 2,
            width: 3,
            pixels: Pixels::U8(bytes.into()),
            label: 9,
        };
        let floats = sample.floats();
        let (picture, label) = Picture::from_sample(sample).unwrap();
        let back = picture.into_sample(label);
        assert_eq!((back.floats(), back.label), (floats, 9));
    }
}
