//! `classify`, `detect` and `segment` on image files.

use std::{fs, path::Path};

use crate::cli::{call, err, fails, out, works};

/// The mean of each channel of an image: what it is like is known without weights.
const MEANS: &str = "
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: 4 dim: 6 } } }
layer { name: 'mean' type: 'Pooling' bottom: 'data' top: 'mean' pooling_param { pool: AVE global_pooling: true } }
";

/// Every channel as it is.
const SAME: &str = "
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 dim: 4 dim: 6 } } }
layer { name: 'map' type: 'Power' bottom: 'data' top: 'map' }
";

fn picture(path: &Path, color: impl Fn(u32, u32) -> [u8; 3]) {
    let picture = image::RgbImage::from_fn(12, 8, |x, y| image::Rgb(color(x, y)));
    picture.save(path).unwrap();
}

/// A folder with a net, a red and a green picture.
fn folder(net: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("net.prototxt"), net).unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    picture(&dir.path().join("in/red.png"), |_, _| [200, 10, 20]);
    picture(&dir.path().join("in/green.png"), |_, _| [10, 100, 20]);
    fs::write(
        dir.path().join("labels.txt"),
        "blue thing\ngreen thing\nred thing\n",
    )
    .unwrap();
    dir
}

#[test]
fn classes_in_the_words_of_caffes_example() {
    let dir = folder(MEANS);
    let line = "classify --model=net.prototxt --labels=labels.txt --top=2 in/red.png";
    let output = call(dir.path(), line);
    works(&output);
    assert_eq!(
        out(&output),
        "---------- Prediction for in/red.png ----------\n200.0000 - \"red thing\"\n20.0000 - \"blue thing\"\n"
    );
    let line = "classify --model=net.prototxt --mean=0,0,190 --scale=0.5 --top=1 --json in";
    let output = call(dir.path(), line);
    works(&output);
    let list: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(list[0]["file"], "in/green.png");
    assert_eq!(list[0]["classes"][0]["class"], 1);
    assert_eq!(list[0]["classes"][0]["score"], 50.0);
    assert_eq!(list[1]["classes"][0]["class"], 0);
}

#[test]
fn the_words_of_cpp_classification() {
    let dir = folder(MEANS);
    let tiny = cortado::Tensor::new([1, 3, 1, 2], vec![0., 0., 0., 0., 100., 300.]).unwrap();
    cortado::model_io::binaryproto::write_binaryproto(
        &dir.path().join("mean.binaryproto"),
        tiny.view(),
    )
    .unwrap();
    // A model x of one layer a, which has no weights, as this net has none.
    let model = [0x0a, 1, b'x', 0xa2, 6, 3, 0x0a, 1, b'a'];
    fs::write(dir.path().join("none.caffemodel"), model).unwrap();
    let line = "classify net.prototxt none.caffemodel mean.binaryproto labels.txt in/red.png";
    let output = call(dir.path(), line);
    works(&output);
    assert!(
        out(&output).contains("0.0000 - \"red thing\""),
        "{}",
        out(&output)
    );
}

#[test]
fn what_does_not_do_is_told() {
    let dir = folder(MEANS);
    let says = |line: &str, words: &str| {
        fails(&call(dir.path(), line), &[words]);
    };
    says("classify --model=net.prototxt", "no image is named");
    says("classify --model=net.prototxt none.png", "none.png");
    says("classify --model=net.prototxt in/*.gif", "means no image");
    fs::write(dir.path().join("two.txt"), "a\nb\n").unwrap();
    says(
        "classify --model=net.prototxt --labels=two.txt in/red.png",
        "2 labels for 3 scores",
    );
    says("detect --model=net.prototxt in/red.png", "rows of 7");
    says(
        "segment --model=net.prototxt --blob=nose in/red.png",
        "no blob 'nose'",
    );
    // One broken image does not stop the others.
    fs::write(dir.path().join("in/broken.png"), "no picture").unwrap();
    let output = call(dir.path(), "classify --model=net.prototxt --top=1 in");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(out(&output).matches("Prediction for").count(), 2);
    assert!(err(&output).contains("broken.png") && err(&output).contains("1 of 3 images failed"));
}

#[test]
fn maps_of_classes_as_pictures() {
    let dir = folder(SAME);
    // Left half blue, right half red, in the order of the channels: class 0 and class 2.
    picture(&dir.path().join("in/halves.png"), |x, _| {
        if x < 6 { [0, 0, 250] } else { [250, 0, 0] }
    });
    let line = "segment --model=net.prototxt --labels=labels.txt --out=maps --heat in/halves.png";
    let output = call(dir.path(), line);
    works(&output);
    assert_eq!(
        out(&output),
        "in/halves.png: blue thing 50.0 %, red thing 50.0 % (maps/halves_labels.png)\n"
    );
    let file = fs::File::open(dir.path().join("maps/halves_labels.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .unwrap();
    assert_eq!((reader.info().width, reader.info().height), (12, 8));
    let mut labels = vec![9; 96];
    reader.next_frame(&mut labels).unwrap();
    for (i, &label) in labels.iter().enumerate() {
        assert_eq!(label, if i % 12 < 6 { 0 } else { 2 }, "{i}");
    }
    for name in ["overlay", "channel_0", "channel_1", "channel_2"] {
        let picture = image::open(dir.path().join(format!("maps/halves_{name}.png"))).unwrap();
        assert_eq!((picture.width(), picture.height()), (12, 8));
    }
    let heat = image::open(dir.path().join("maps/halves_channel_2.png"))
        .unwrap()
        .to_rgb8();
    let ([cold, ..], [hot, ..]) = (heat.get_pixel(0, 4).0, heat.get_pixel(11, 4).0);
    assert!(hot > cold, "{hot} {cold}");
}
