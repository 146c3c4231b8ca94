//! `view` from outside: every kind of picture from a small trained net.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::RgbImage;

use crate::{
    cli::{call, err, fails, out, works},
    support::{cases, fixtures},
};

/// A trained net with the databases that it reads: five classes on maps of 12 x 12 cells.
fn trained() -> PathBuf {
    fixtures().join("reference/runs/seed_without_last_relu")
}

const NET: &str = "--model=train_val.prototxt --weights=final.caffemodel";

/// Runs `view` there and reads the PNG that it wrote.
fn view(words: &str) -> (RgbImage, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.png");
    let output = call(
        &trained(),
        &format!("view {words} --output={}", path.display()),
    );
    works(&output);
    (image::open(&path).unwrap().to_rgb8(), out(&output))
}

fn json(words: &str) -> serde_json::Value {
    let output = call(&trained(), &format!("view {words} --json"));
    works(&output);
    serde_json::from_str(&out(&output)).unwrap()
}

#[test]
fn a_blob_by_channel() {
    let (image, text) = view(&format!("{NET} --blob=conv_last --sample=2"));
    assert!(image.width() > 5 * 200 && image.height() > 200);
    assert!(
        text.contains("channel 4") && !text.contains("channel 5"),
        "{text}"
    );
    let (few, text) = view(&format!(
        "{NET} --blob=conv_last --channels=1,3-4 --names=a,b"
    ));
    assert!(few.width() < image.width());
    assert!(text.contains("1 b") && text.contains("channel 4"), "{text}");

    let all = json(&format!("{NET} --blob=conv_last --sample=2"));
    let channels = all["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 5);
    for channel in channels {
        let [low, mean, high] = ["low", "mean", "high"].map(|key| channel[key].as_f64().unwrap());
        assert!(low <= mean && mean <= high && low < high);
    }
    let other = json(&format!("{NET} --blob=conv_last --sample=2 --batch=1"));
    assert_ne!(all["channels"], other["channels"]);
}

#[test]
fn over_the_input_in_a_palette() {
    let plain = view(&format!("{NET} --blob=conv_last")).0;
    for words in ["", "--range=own", "--palette=viridis"] {
        let (image, _) = view(&format!("{NET} --blob=conv_last --over=images {words}"));
        assert!(
            image.width() > plain.width(),
            "the input stands beside them"
        );
    }
}

#[test]
fn classes_beside_the_truth() {
    let (image, _) = view(&format!(
        "{NET} --blob=conv_last --classes --truth=labels --over=images"
    ));
    assert!(image.width() > 4 * 192);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("classes.svg");
    let words = format!(
        "view {NET} --blob=conv_last --classes --truth=labels --names=ground,left,right,nose,mouth --output={}",
        path.display()
    );
    works(&call(&trained(), &words));
    let svg = fs::read_to_string(path).unwrap();
    for word in [
        ">truth<",
        ">answer<",
        ">wrong in red<",
        "% right",
        ">0 ground<",
    ] {
        assert!(svg.contains(word), "{word}");
    }
    assert_eq!(svg.matches("<image ").count(), 3);
    // Labels may come from a file as well.
    let map = dir.path().join("map.png");
    image::GrayImage::new(12, 12).save(&map).unwrap();
    view(&format!(
        "{NET} --blob=conv_last --classes --truth={}",
        map.display()
    ));
}

#[test]
fn filters_from_the_weights_alone() {
    let (colour, text) = view("--weights=final.caffemodel --filters=conv1");
    assert!(text.contains("filter 7"), "{text}");
    let coloured = |image: &RgbImage| {
        let strong =
            |p: &&image::Rgb<u8>| p.0.iter().max().unwrap() - p.0.iter().min().unwrap() > 60;
        image.pixels().filter(strong).count()
    };
    assert!(coloured(&colour) > 1000);
    let (grey, _) = view("--weights=final.caffemodel --filters=conv2 --channels=0-3 --range=own");
    assert_eq!(coloured(&grey), 0);
    let wrong = call(
        &trained(),
        "view --weights=final.caffemodel --filters=conv3 --output=x.png",
    );
    fails(
        &wrong,
        &["no weights of a layer 'conv3'", "did you mean 'conv"],
    );
}

#[test]
fn what_units_look_for() {
    let climbed = json(&format!("{NET} --maximize=conv_last --steps=12 --seed=3"));
    for channel in climbed["channels"].as_array().unwrap() {
        let [before, after] = ["before", "after"].map(|key| channel[key].as_f64().unwrap());
        assert!(after > before, "{channel}");
    }
    let again = json(&format!(
        "{NET} --maximize=conv_last --steps=12 --seed=3 --threads=1"
    ));
    assert_eq!(climbed, again);

    let (image, text) = view(&format!("{NET} --maximize=conv_last:1:6:6 --steps=8"));
    assert!(image.width() > 200 && text.contains("after"), "{text}");
    for mode in ["occlusion", "gradient"] {
        let (image, text) = view(&format!("{NET} --{mode}=conv_last:3:6:6 --sample=1"));
        assert!(image.width() > 2 * 192 && text.contains("output"), "{text}");
    }
    // All of a pixel's evidence lies where the net can see it from there: 40 pixels about the middle.
    let map = json(&format!(
        "{NET} --occlusion=conv_last:3 --patch=12 --stride=12"
    ));
    assert!(map["channels"][0]["high"].as_f64().unwrap() > 0.0);
    view(&format!(
        "{NET} --gradient=conv_last --smooth=3 --channels=1,2"
    ));
}

#[test]
fn an_image_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let net = r#"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 2 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 40 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"#;
    fs::write(dir.path().join("deploy.prototxt"), net).unwrap();
    let face = RgbImage::from_fn(8, 8, |x, y| image::Rgb([x as u8 * 30, y as u8 * 30, 90]));
    face.save(dir.path().join("face.png")).unwrap();
    let words =
        "view --model=deploy.prototxt --input=data=face.png --mean=104,117,123 --scale=0.01";
    for (what, colours) in [
        ("--blob=conv --over=data", true),
        ("--blob=prob", false),
        ("--occlusion=prob:3 --patch=3", true),
        ("--gradient=prob:3", true),
        ("--maximize=prob:3 --steps=4", false),
    ] {
        let output = call(dir.path(), &format!("{words} {what} --output=x.png"));
        works(&output);
        let sheet = image::open(dir.path().join("x.png")).unwrap().to_rgb8();
        // The face is on the sheet in its own colours, mean and scale undone.
        let [wanted] = [face.get_pixel(3, 5)];
        assert_eq!(sheet.pixels().any(|p| p == wanted), colours, "{what}");
    }
    let text = err(&call(
        dir.path(),
        &format!("{words} --blob=prob --output=x.png --log"),
    ));
    assert!(!text.contains("Ignoring source layer"), "{text}");
}

#[test]
fn mistakes() {
    let here = |words: &str| call(&trained(), &format!("view {words}"));
    for (words, expected) in [
        ("--output=x.png", &["what to show", "--blob=NAME"][..]),
        (
            "--blob=a --filters=b --output=x.png",
            &["one thing at a time"],
        ),
        ("--blob=a", &["needs a file to write"]),
        ("--blob=a --output=x.jpg", &["neither in .png nor in .svg"]),
        ("--blob=a --output=x.png --scale=own", &["--range=own"]),
        ("--filters=a --output=x.png", &["needs a file of weights"]),
    ] {
        fails(&here(words), expected);
    }
    for (words, expected) in [
        (
            "--blob=conv_lats",
            &["no blob 'conv_lats'", "'conv_last'"][..],
        ),
        (
            "--blob=conv_last --over=image",
            &["no blob 'image'", "'images'"],
        ),
        ("--blob=conv_last --sample=8", &["no sample 8"]),
        ("--blob=conv_last --channels=5", &["no channel 5", "0 to 4"]),
        ("--blob=conv_last --channels=x", &["'x' is no channel"]),
        (
            "--blob=conv_last --palette=rainbow",
            &["--palette", "viridis"],
        ),
        (
            "--blob=conv_last --truth=nowhere.png",
            &["no blob of the net and no file"],
        ),
        ("--gradient=conv_last:5", &["no channel 5"]),
        ("--gradient=conv_last:1:12:0", &["no row 12"]),
        ("--occlusion=conv_last:1:2", &["no column"]),
        (
            "--occlusion=conv_last --over=conv1",
            &["does not come into the net"],
        ),
        ("--gradient=labels:0", &["labels"]),
    ] {
        let output = here(&format!("{NET} {words} --output=x.png"));
        fails(&output, expected);
    }
    assert!(!trained().join("x.png").exists());
}

/// Whatever a layer makes can be looked at, or says why not.
#[test]
fn every_recorded_layer_can_be_viewed() {
    let mut seen = 0;
    for case in cases().iter().step_by(9) {
        let dir = fixtures().join("reference/layers").join(&case.name);
        let Some(top) = case.file.net.layer.last().and_then(|l| l.top.first()) else {
            continue;
        };
        let words = format!("view --model=net.prototxt --input=blobs.npz --blob={top} --json");
        let output = call(Path::new(&dir), &words);
        assert!(!err(&output).contains("panicked"), "{}", case.name);
        seen += usize::from(output.status.success());
    }
    assert!(seen > 20, "{seen}");
}
