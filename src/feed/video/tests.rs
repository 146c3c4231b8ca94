use image::{
    Delay, ExtendedColorType, Frame, ImageEncoder as _, RgbaImage,
    codecs::{gif::GifEncoder, jpeg::JpegEncoder, png::PngEncoder},
};
use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

fn png(value: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&[value; 3], 1, 1, ExtendedColorType::Rgb8)
        .unwrap();
    bytes
}

fn values(video: &Video) -> Vec<u8> {
    (0..video.len())
        .map(|i| {
            let sample = video.frame(i, Color::Color, Vec::new()).unwrap();
            match sample.pixels {
                Pixels::Rgb(pixels) => pixels[0],
                other => panic!("{other:?}"),
            }
        })
        .collect()
}

#[test]
fn a_folder_a_pattern_and_a_list() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("f")).unwrap();
    for (n, value) in [(1, 10), (2, 20), (3, 30)] {
        fs::write(dir.path().join(format!("f/{n:03}.png")), png(value)).unwrap();
    }
    fs::write(dir.path().join("f/notes.txt"), "no frame").unwrap();
    fs::write(dir.path().join("list"), "f/002.png\n\nf/001.png\n").unwrap();
    let open = |source: &str| values(&Video::open(dir.path(), source).unwrap());
    assert_eq!(open("f"), [10, 20, 30]);
    assert_eq!(open("f/%03d.png"), [10, 20, 30]);
    assert_eq!(open("list"), [20, 10]);
    for (source, kind, part) in [
        ("f/%04d.png", ErrorKind::Io, "f/0001.png"),
        ("f/%s.png", ErrorKind::Param, "the pattern needs one number"),
        ("f/%3d%d.png", ErrorKind::Param, "the pattern"),
        ("nothing", ErrorKind::Io, "nothing"),
    ] {
        let error = Video::open(dir.path(), source).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    fs::write(dir.path().join("film.mp4"), b"\0\0\0 ftypisom\xff").unwrap();
    let error = Video::open(dir.path(), "film.mp4").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.help_text().unwrap().contains("frames/%06d.jpg"));
}

#[test]
fn every_second_frame() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("list"), "a\nb\nc\nd\ne").unwrap();
    let video = Video::open(dir.path(), "list").unwrap();
    let param = crate::schema::TransformationParameter::default();
    let transformer = Transformer::new(&param, false, dir.path()).unwrap();
    let watched = Watched::new(video, 1, transformer.clone()).unwrap();
    let index = |number| {
        watched.index(&Record {
            number,
            key: b"",
            value: b"",
        })
    };
    assert_eq!([0, 1, 2, 3].map(index), [1, 3, 1, 3]);
    let video = Video::open(dir.path(), "list").unwrap();
    let error = Watched::new(video, 5, transformer).err().unwrap();
    assert!(error.message().contains("the video has 5"), "{error}");
}

fn animation() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for value in [0, 255] {
        let pixels = RgbaImage::from_pixel(3, 2, image::Rgba([value, value, value, 255]));
        let delay = Delay::from_numer_denom_ms(10, 1);
        encoder
            .encode_frame(Frame::from_parts(pixels, 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    bytes
}

fn chunk(name: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = name.to_vec();
    bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len() + data.len() % 2, 0);
    bytes
}

fn movie() -> Vec<u8> {
    let jpeg = |value: u8| {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 100)
            .write_image(&[value; 192], 8, 8, ExtendedColorType::Rgb8)
            .unwrap();
        bytes
    };
    let list = |name: &[u8], inside: Vec<u8>| chunk(b"LIST", &[name.to_vec(), inside].concat());
    let header = list(b"hdrl", chunk(b"avih", &[0; 56]));
    let frames = [
        chunk(b"00dc", &jpeg(40)),
        chunk(b"01wb", &[1, 2, 3]),
        chunk(b"00dc", &jpeg(80)),
    ];
    let inside = [
        b"AVI ".to_vec(),
        header,
        list(b"movi", frames.concat()),
        chunk(b"idx1", &[0; 32]),
    ];
    chunk(b"RIFF", &inside.concat())
}

#[test]
fn a_gif_and_an_avi_of_jpegs() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.gif"), animation()).unwrap();
    fs::write(dir.path().join("b.avi"), movie()).unwrap();
    let video = Video::open(dir.path(), "a.gif").unwrap();
    assert_eq!(values(&video), [0, 255]);
    let sample = video.frame(0, Color::Color, Vec::new()).unwrap();
    assert_eq!(sample.dims(), [3, 2, 3]);
    let video = Video::open(dir.path(), "b.avi").unwrap();
    assert_eq!(values(&video), [40, 80]);
    let text = [&movie()[..], b""].concat();
    let at = text.windows(4).position(|w| w == b"00dc").unwrap();
    let mut other = text.clone();
    other[at + 8] = 0;
    fs::write(dir.path().join("c.avi"), other).unwrap();
    let error = Video::open(dir.path(), "c.avi").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

proptest! {
    #[test]
    fn damaged_files_are_opened_or_refused(at in 0usize..400, value: u8, cut in 0usize..300) {
        for mut bytes in [animation(), movie()] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _ = gif(&bytes);
            let _ = avi(bytes);
        }
    }
}
