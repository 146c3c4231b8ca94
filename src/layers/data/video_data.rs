//! VideoData: the frames of a video, from files.
//!
//! Shapes: the first top \[batch_size, channels, height, width\] as the frames are after `transform_param`, the second,
//! where there is one, zeros \[batch_size\]. No bottom, no gradient.
//!
//! `video_type: VIDEO` with a `video_file` that is a folder of images (in the order of their names), a pattern of names
//! (`frames/%06d.jpg`, from 0 or 1 on), a text file with one path a line, an animated GIF, or an AVI whose frames are
//! JPEGs. `skip_frames` are left out before each frame that is taken; `data_param.batch_size` are a batch.
//!
//! Departures: no codec is built in, so other videos have to be written as files of frames first, and WEBCAM, the
//! default, is refused; after the last frame comes the first again, where the fork ends the program.

use super::fed::{AHEAD, Fed, batch_size};
use crate::{
    error::{Error, Result},
    feed::{
        datum::Color,
        transform::Transformer,
        video::{Video, Watched},
    },
    layer::{Arity, LayerDef, LayerType, Role},
    schema::video_data_parameter::VideoType,
};

pub(super) const TYPE: LayerType =
    LayerType::new("VideoData", |def| Ok(Box::new(video_data(def)?)))
        .arity(Arity::Exact(0), Arity::Range(1, 2))
        .role(Role::Data);

fn video_data(def: &LayerDef) -> Result<Fed<Watched>> {
    let param = def.param.video_data_param.clone().unwrap_or_default();
    let batch = def.param.data_param.clone().unwrap_or_default();
    let batch = batch_size(def, "data_param.batch_size", batch.batch_size())?;
    if param.video_type() == VideoType::Webcam {
        return Err(Error::unsupported(format!(
            "video_data_param: frames of a webcam (device {}) are not read",
            param.device_id()
        ))
        .help(
            "write its frames as files and set video_type: VIDEO video_file: \"frames/%06d.jpg\"",
        ));
    }
    if param.video_file().is_empty() {
        return Err(def.invalid("video_data_param.video_file", "names no video"));
    }
    let transform = def.param.transform_param.clone().unwrap_or_default();
    let transformer = Transformer::with_color(&transform, def.is_train(), &def.root, Color::Color)?;
    let video = Video::open(&def.root, param.video_file())?;
    let watched = Watched::new(video, param.skip_frames() as usize, transformer)?;
    let source = watched.source();
    Fed::new(def, batch, AHEAD, watched, move || {
        Ok(Box::new(source.clone()))
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::{
        error::ErrorKind,
        layer::Layer as _,
        layers::data::testing::{def, png},
    };

    fn layer(root: &Path, fields: &str) -> Result<Fed<Watched>> {
        video_data(&def(root, 2, fields))
    }

    #[test]
    fn frames_go_round() {
        let dir = tempfile::tempdir().unwrap();
        for n in [0u8, 1, 2] {
            fs::write(dir.path().join(format!("{n}.png")), png(1, 1, &[10 * n; 3])).unwrap();
        }
        let fields = "data_param { batch_size: 2 }
                      video_data_param { video_type: VIDEO video_file: '%d.png' }";
        let mut layer = layer(dir.path(), fields).unwrap();
        let mut tops = vec![Vec::new(), Vec::new()];
        for want in [[0.0, 10.0], [20.0, 0.0]] {
            layer.pull(&mut tops).unwrap();
            assert_eq!([tops[0][0], tops[0][3]], want);
            assert_eq!(tops[1], [0.0; 2]);
        }
    }

    #[test]
    fn errors() {
        let dir = tempfile::tempdir().unwrap();
        let fails = |fields: &str, kind, part: &str| {
            let error = layer(dir.path(), fields).err().unwrap();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        };
        fails("", ErrorKind::Param, "data_param.batch_size");
        let batch = "data_param { batch_size: 2 }";
        fails(batch, ErrorKind::Unsupported, "webcam");
        fails(
            &format!("{batch} video_data_param {{ video_type: VIDEO }}"),
            ErrorKind::Param,
            "video_data_param.video_file",
        );
        fails(
            &format!("{batch} video_data_param {{ video_type: VIDEO video_file: 'x.mp4' }}"),
            ErrorKind::Io,
            "x.mp4",
        );
    }
}
