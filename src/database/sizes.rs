//! `get_image_size`: the sizes of listed images.

use std::{collections::BTreeMap, io::Cursor, path::Path};

use image::ImageReader;

use super::{Watch, in_order::in_order};
use crate::{
    error::{Error, Place, Result},
    feed::{files::Folder, list::List},
};

/// What is told of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Its path, as listed.
    pub path: String,
    /// Its name without folder and ending, or its number where that is asked for.
    pub name: String,
    /// In pixels.
    pub height: u32,
    /// In pixels.
    pub width: u32,
}

impl ImageSize {
    /// The line that SSD's tool writes.
    pub fn line(&self) -> String {
        format!("{} {} {}\n", self.name, self.height, self.width)
    }
}

/// The size of each image of a list, in its order; with `ids`, under its number there.
///
/// # Errors
/// `Io` or `Data`, with the line, where an image cannot be read or has no number.
pub fn image_sizes(
    list: &List,
    folder: &Folder,
    ids: Option<&BTreeMap<String, i64>>,
    watch: &mut dyn Watch,
) -> Result<Vec<ImageSize>> {
    let entries: Vec<_> = list.entries().iter().collect();
    let mut sizes = Vec::with_capacity(entries.len());
    let mut count = 0;
    in_order(
        &entries,
        |entry| {
            let path = list.path(entry);
            size(folder, path, ids).map_err(|e| e.at(list.line(entry)))
        },
        |size| {
            sizes.push(size?);
            count += 1;
            watch.done(count)
        },
    )?;
    Ok(sizes)
}

fn size(folder: &Folder, path: &str, ids: Option<&BTreeMap<String, i64>>) -> Result<ImageSize> {
    let bytes = folder.read(path, Vec::new())?;
    let size = ImageReader::new(Cursor::new(&bytes))
        .with_guessed_format()
        .ok()
        .and_then(|reader| reader.into_dimensions().ok());
    let Some((width, height)) = size else {
        return Err(
            Error::data("the file is no image of a kind that can be read")
                .at(Place::File(folder.path(path).display().to_string())),
        );
    };
    let stem = Path::new(path).file_stem().unwrap_or_default();
    let stem = stem.to_string_lossy();
    let name = match ids {
        None => stem.into_owned(),
        Some(ids) => {
            let id = ids.get(&*stem).ok_or_else(|| {
                Error::data(format!(
                    "the image '{stem}' has no number in the file of names"
                ))
                .help("add it there: its name without folder and ending, a blank and a number")
            })?;
            id.to_string()
        }
    };
    Ok(ImageSize {
        path: path.to_owned(),
        name,
        height,
        width,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::list::Form;

    #[test]
    fn sizes_by_name_or_number() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feed/images");
        let folder = Folder::new(&images, "");
        let list = List::parse("l", "rgb8.png 1\nturned.jpg 2".into(), Form::Path).unwrap();
        let decoded = |name: &str| {
            let image = image::open(images.join(name)).unwrap();
            format!("{} {}", image.height(), image.width())
        };
        let sizes = ["rgb8.png", "turned.jpg"].map(decoded);
        let text = |ids| {
            let sizes = image_sizes(&list, &folder, ids, &mut ()).unwrap();
            sizes.iter().map(ImageSize::line).collect::<String>()
        };
        assert_eq!(
            text(None),
            format!("rgb8 {}\nturned {}\n", sizes[0], sizes[1])
        );
        let mut ids = BTreeMap::from([("rgb8".to_owned(), 7)]);
        let error = image_sizes(&list, &folder, Some(&ids), &mut ()).unwrap_err();
        assert!(
            error.to_string().contains("'turned' has no number"),
            "{error}"
        );
        ids.insert("turned".into(), 9);
        assert_eq!(
            text(Some(&ids)),
            format!("7 {}\n9 {}\n", sizes[0], sizes[1])
        );
    }
}
