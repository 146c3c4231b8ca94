//! Which layers a net of a given state keeps: the `include` and `exclude` rules.

use crate::{
    error::{Error, ErrorKind, Place, Result},
    schema::{LayerParameter, NetParameter, NetState, NetStateRule, Phase},
};

/// The state that a net is built in: the message's own, with what `over` sets laid over it, and `phase` unless the two
/// say otherwise.
pub fn state_of(net: &NetParameter, phase: Phase, over: Option<&NetState>) -> NetState {
    let mut state = NetState {
        phase: Some(phase as i32),
        ..Default::default()
    };
    for more in [net.state.as_ref(), over].into_iter().flatten() {
        state.phase = more.phase.or(state.phase);
        state.level = more.level.or(state.level);
        state.stage.extend(more.stage.iter().cloned());
    }
    state
}

/// Keeps the layers whose rules meet the net's `state`. Also returns, for each kept layer, its index before, and for
/// each dropped one the reason in Caffe's words.
///
/// # Errors
/// `Graph` where a layer has both include and exclude rules.
pub fn filter(net: &NetParameter) -> Result<(NetParameter, Vec<usize>, Vec<String>)> {
    let state = net.state.clone().unwrap_or_default();
    let mut kept = NetParameter {
        layer: Vec::new(),
        ..net.clone()
    };
    let mut origins = Vec::new();
    let mut reasons = Vec::new();
    for (i, layer) in net.layer.iter().enumerate() {
        if !layer.include.is_empty() && !layer.exclude.is_empty() {
            return Err(Error::new(
                ErrorKind::Graph,
                "a layer may have include rules or exclude rules, not both",
            )
            .help("say when the layer is there in include rules only")
            .at(Place::Layer {
                name: layer.name().to_owned(),
                kind: layer.r#type().to_owned(),
                bottoms: Vec::new(),
            }));
        }
        match keeps(layer, &state) {
            Ok(()) => {
                kept.layer.push(layer.clone());
                origins.push(i);
            }
            Err(why) => reasons.push(why),
        }
    }
    Ok((kept, origins, reasons))
}

fn keeps(layer: &LayerParameter, state: &NetState) -> Result<(), String> {
    let name = layer.name();
    if layer.include.is_empty() {
        for rule in &layer.exclude {
            if meets(rule, state, name).is_ok() {
                return Err(format!("Layer {name} is excluded by a rule of its own"));
            }
        }
        return Ok(());
    }
    let mut why = String::new();
    for rule in &layer.include {
        match meets(rule, state, name) {
            Ok(()) => return Ok(()),
            Err(reason) => why = reason,
        }
    }
    Err(why)
}

fn meets(rule: &NetStateRule, state: &NetState, layer: &str) -> Result<(), String> {
    if rule.phase.is_some() && rule.phase() != state.phase() {
        return Err(format!(
            "The NetState phase ({}) differed from the phase ({}) specified by a rule in layer {layer}",
            state.phase() as i32,
            rule.phase() as i32
        ));
    }
    if let Some(least) = rule.min_level.filter(|&l| state.level() < l) {
        return Err(format!(
            "The NetState level ({}) is above the min_level ({least}) specified by a rule in layer {layer}",
            state.level()
        ));
    }
    if let Some(most) = rule.max_level.filter(|&l| state.level() > l) {
        return Err(format!(
            "The NetState level ({}) is above the max_level ({most}) specified by a rule in layer {layer}",
            state.level()
        ));
    }
    if let Some(stage) = rule.stage.iter().find(|s| !state.stage.contains(s)) {
        return Err(format!(
            "The NetState did not contain stage '{stage}' specified by a rule in layer {layer}"
        ));
    }
    if let Some(stage) = rule.not_stage.iter().find(|s| state.stage.contains(s)) {
        return Err(format!(
            "The NetState contained a not_stage '{stage}' specified by a rule in layer {layer}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(layers: Vec<LayerParameter>, state: NetState) -> Vec<usize> {
        let net = NetParameter {
            layer: layers,
            state: Some(state),
            ..Default::default()
        };
        filter(&net).unwrap().1
    }

    fn with(include: Vec<NetStateRule>, exclude: Vec<NetStateRule>) -> LayerParameter {
        LayerParameter {
            include,
            exclude,
            ..Default::default()
        }
    }

    fn phase(p: Phase) -> NetStateRule {
        NetStateRule {
            phase: Some(p as i32),
            ..Default::default()
        }
    }

    fn state(p: Phase, level: i32, stages: &[&str]) -> NetState {
        NetState {
            phase: Some(p as i32),
            level: Some(level),
            stage: stages.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    #[test]
    fn phase_level_and_stage() {
        let layers = || {
            vec![
                with(vec![phase(Phase::Train)], vec![]),
                with(vec![], vec![phase(Phase::Train)]),
                with(
                    vec![NetStateRule {
                        min_level: Some(2),
                        ..Default::default()
                    }],
                    vec![],
                ),
                with(
                    vec![NetStateRule {
                        max_level: Some(1),
                        ..Default::default()
                    }],
                    vec![],
                ),
                with(
                    vec![NetStateRule {
                        stage: vec!["deploy".into()],
                        ..Default::default()
                    }],
                    vec![],
                ),
                with(
                    vec![NetStateRule {
                        not_stage: vec!["deploy".into()],
                        ..Default::default()
                    }],
                    vec![],
                ),
                with(vec![phase(Phase::Train), phase(Phase::Test)], vec![]),
                with(vec![], vec![]),
            ]
        };
        assert_eq!(kept(layers(), state(Phase::Train, 0, &[])), [0, 3, 5, 6, 7]);
        assert_eq!(
            kept(layers(), state(Phase::Test, 2, &["deploy"])),
            [1, 2, 4, 6, 7]
        );
    }

    #[test]
    fn include_and_exclude_together_are_refused() {
        let net = NetParameter {
            layer: vec![with(vec![phase(Phase::Train)], vec![phase(Phase::Test)])],
            ..Default::default()
        };
        assert!(filter(&net).is_err());
    }
}
