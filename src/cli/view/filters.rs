//! `view --filters`: the weights of a layer.

use super::{Row, Shown, look::Look};
use crate::{
    cli::args::Args,
    error::{Error, ErrorKind, Result},
    model_io::{binaryproto::to_tensor, caffemodel},
    nearest::nearest,
    report::{
        channels::{self, figures, shrunk},
        filters::Bank,
        gallery::{Gallery, Panel},
        palette::Palette,
    },
    tensor::Tensor,
};

/// The filters of the layer, from the file of weights alone.
pub(super) fn show(args: &Args) -> Result<Shown> {
    let layer = args.text("filters").unwrap_or_default();
    let weights = weights(args, &layer)?;
    let look = Look::new(args, Palette::Grey)?;
    let bank = Bank::new(&weights.shape)?;
    let size = bank.size();
    let wanted = look.channels(bank.count)?;
    let kind = if bank.count == 1 { "weights" } else { "filter" };

    let all: Vec<_> = weights.data.chunks_exact(size).map(figures).collect();
    let shown: Vec<_> = wanted.iter().map(|&i| all[i]).collect();
    // As far below 0 as above, so that one colour means nothing, whatever the filter.
    let even = |f: &channels::Figures| {
        let most = f.high.max(-f.low);
        channels::Figures {
            low: -most,
            high: most,
            ..*f
        }
    };
    let evened: Vec<_> = shown.iter().map(even).collect();
    let ranges = look.ranges(&evened);
    let (rows, columns) = bank.extent();
    let zoom = channels::zoom(rows, columns, wanted.len());
    let mut panels = Vec::new();
    for ((&filter, figures), range) in wanted.iter().zip(&shown).zip(ranges) {
        let image = bank.picture(weights.view(), filter, range, look.palette, zoom)?;
        panels.push(
            Panel::new(look.name(kind, filter), shrunk(image, wanted.len()))
                .note(super::look::note(figures)),
        );
    }
    let what = match (bank.color, bank.planes) {
        (true, _) => "in colour, as it reads blue, green and red; 0 is mid grey".to_owned(),
        (false, 1) if bank.count == 1 => "outputs down, inputs across".to_owned(),
        (false, 1) => String::new(),
        (false, planes) => format!("{planes} planes each, row by row"),
    };
    let gallery = Gallery {
        title: format!("{layer} {}", weights.shape),
        subtitle: what,
        panels,
        bar: (!bank.color).then(|| look.bar(&evened)),
        ..Gallery::default()
    };
    let rows = wanted
        .iter()
        .zip(shown)
        .map(|(&index, figures)| Row {
            name: look.name(kind, index),
            index,
            figures,
            more: Vec::new(),
        })
        .collect();
    Ok(Shown {
        gallery,
        what: layer,
        rows,
    })
}

fn weights(args: &Args, layer: &str) -> Result<Tensor> {
    let path = args.need(
        "weights",
        "a file of weights for --filters",
        "view --weights=net.caffemodel --filters=conv1 --output=conv1.png",
    )?;
    let net = caffemodel::read(&path)?;
    let known: Vec<&str> = net
        .layer
        .iter()
        .filter(|l| !l.blobs.is_empty())
        .map(|l| l.name())
        .collect();
    let missing = || {
        let error = Error::new(
            ErrorKind::Param,
            format!("'{}' has no weights of a layer '{layer}'", path.display()),
        );
        match nearest(layer, known.iter().copied()) {
            Some(near) => error.help(format!("did you mean '{near}'?")),
            None => error.help(format!("its layers are {}", known.join(", "))),
        }
    };
    let found = net.layer.iter().find(|l| l.name() == layer);
    let blob = found.and_then(|l| l.blobs.first()).ok_or_else(missing)?;
    to_tensor(blob.clone())
}
