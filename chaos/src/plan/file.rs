//! Plans as JSON: kept beside a history, and read again to replay or shrink a run. Not here:
//! where the files are.

use serde::{Deserialize, Serialize};

use super::{Fault, Plan, Target};

/// All that a run needs to be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Name of the scenario: nodes, workloads, settings.
    pub scenario: String,
    /// All other chance.
    pub seed: u64,
    /// What is done; need not be what the seed would draw.
    pub plan: Plan,
}

/// Why a plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not JSON, or not a plan; the source names the line and the key.
    #[error("this is not a plan as this version writes it: {0}")]
    Json(#[from] serde_json::Error),
    /// A step makes no sense.
    #[error("fault {number} of the plan ({says}): {why}")]
    Step {
        /// Its place in the plan, from 0.
        number: usize,
        /// In words.
        says: String,
        /// What is wrong, with value and limit.
        why: String,
    },
    /// The plan itself makes no sense.
    #[error("the plan has {0}")]
    Plan(&'static str),
}

impl Case {
    /// As JSON, indented, with a last line end.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// From JSON.
    ///
    /// # Errors
    /// When it is not a case, or its plan is not [`Plan::check`]ed.
    pub fn from_json(text: &str) -> Result<Case, PlanError> {
        let case: Case = serde_json::from_str(text)?;
        case.plan.check()?;
        Ok(case)
    }
}

impl Plan {
    /// As JSON, indented, with a last line end.
    pub fn to_json(&self) -> String {
        pretty(self)
    }

    /// From JSON.
    ///
    /// # Errors
    /// When it is not a plan, or one that makes no sense ([`Plan::check`]).
    pub fn from_json(text: &str) -> Result<Plan, PlanError> {
        let plan: Plan = serde_json::from_str(text)?;
        plan.check()?;
        Ok(plan)
    }

    /// Whether it can be carried out at all; whether safety can be promised under it is
    /// [`super::budget`]'s question.
    ///
    /// # Errors
    /// The first step that makes no sense, with the value and the limit.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.clients == 0 {
            return Err(PlanError::Plan("no clients"));
        }
        if !self.steps.is_sorted_by_key(|step| step.at_ms) {
            return Err(PlanError::Plan("faults that are not in the order of their beginning"));
        }
        for (number, step) in self.steps.iter().enumerate() {
            let late = (step.at_ms > self.safety_ms)
                .then(|| format!("it begins after the safety phase of {} ms", self.safety_ms));
            if let Some(why) = late.or_else(|| nonsense(&step.fault)) {
                return Err(PlanError::Step { number, says: step.fault.to_string(), why });
            }
        }
        Ok(())
    }
}

fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("plain data is always JSON");
    text.push('\n');
    text
}

/// What is wrong with a fault in itself.
fn nonsense(fault: &Fault) -> Option<String> {
    let permille = |name: &str, share: u32| {
        (share > 1000).then(|| format!("{name} is {share} per mille, at most 1000 are allowed"))
    };
    let nobody = |place: u64| (place == 0).then(|| "places are counted from 1".to_owned());
    let wrong = match fault {
        Fault::Cut { pairs, .. } => pairs.iter().find_map(|(from, to)| {
            let same = (from == to).then(|| format!("node {from} is cut off from itself"));
            nobody(*from.min(to)).or(same)
        }),
        Fault::Noise { lose, duplicate, reorder, corrupt } => permille("lose", *lose)
            .or(permille("duplicate", *duplicate))
            .or(permille("reorder", *reorder))
            .or(permille("corrupt", *corrupt)),
        Fault::SlowLink { from, to, .. } => nobody(*from.min(to)),
        Fault::BitFlip { byte_permille, bit, .. } => permille("byte_permille", *byte_permille)
            .or_else(|| (*bit > 7).then(|| format!("bit is {bit}, a byte has bits 0 to 7"))),
        Fault::ClockSkew { permille: share, .. } => (share.unsigned_abs() >= 1000)
            .then(|| format!("permille is {share}, more than -1000 and less than 1000 is allowed")),
        _ => None,
    };
    wrong.or_else(|| match fault.target() {
        Some(Target::Node(place)) => nobody(place),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;

    fn plan_of(fault: Fault) -> Plan {
        let steps = vec![Step { at_ms: 10, for_ms: 20, fault }];
        Plan { steps, operations: 5, clients: 2, safety_ms: 1000 }
    }

    #[test]
    fn what_is_written_is_read() {
        let pairs = vec![(1, 2), (2, 1)];
        let plan = plan_of(Fault::Cut { shape: "partition".to_owned(), pairs });
        assert_eq!(Plan::from_json(&plan.to_json()).unwrap(), plan);
        let case = Case { scenario: "partitions".to_owned(), seed: u64::MAX, plan };
        assert_eq!(Case::from_json(&case.to_json()).unwrap(), case);
    }

    #[test]
    fn a_file_is_read_the_same_for_ever() {
        let text = r#"{"scenario": "crashes", "seed": 7, "plan": {"clients": 1, "operations": 9,
            "safety_ms": 500, "steps": [
                {"at_ms": 1, "for_ms": 2, "fault": {"crash": {"target": "leader", "power": true}}},
                {"at_ms": 3, "for_ms": 0, "fault": {"clock_jump":
                    {"target": {"node": 2}, "ms": -5}}},
                {"at_ms": 4, "for_ms": 0, "fault": "add_node"}]}}"#;
        let case = Case::from_json(text).unwrap();
        assert_eq!(case.plan.steps[1].fault.to_string(), "clock of node 2 jumps -5 ms");
        assert_eq!(case.plan.steps[2].fault, Fault::AddNode);
    }

    #[test]
    fn errors_name_line_key_and_value() {
        let told = |text: &str| Plan::from_json(text).unwrap_err().to_string();
        let json = plan_of(Fault::AddNode).to_json();
        let unknown = told(&json.replace("\"at_ms\"", "\"when\""));
        assert!(
            unknown.contains("unknown field `when`") && unknown.contains("line 4"),
            "{unknown}"
        );
        let fault = told(&json.replace("add_node", "add_nodes"));
        assert!(fault.contains("unknown variant `add_nodes`"), "{fault}");
        assert!(told("{").contains("EOF"), "{}", told("{"));
        assert_eq!(
            told(&json.replace("\"clients\": 2", "\"clients\": 0")),
            "the plan has no clients"
        );
    }

    #[test]
    fn canary_every_nonsense_is_refused() {
        let target = Target::Leader;
        let wrong = [
            (
                Fault::Noise { lose: 0, duplicate: 1001, reorder: 0, corrupt: 0 },
                "duplicate is 1001",
            ),
            (Fault::Crash { target: Target::Node(0), power: false }, "counted from 1"),
            (Fault::SlowLink { from: 0, to: 1, ms: 1 }, "counted from 1"),
            (Fault::Cut { shape: String::new(), pairs: vec![(2, 2)] }, "cut off from itself"),
            (Fault::BitFlip { target, state: true, byte_permille: 0, bit: 8 }, "bit is 8"),
            (Fault::ClockSkew { target, permille: -1000 }, "permille is -1000"),
            (Fault::Transfer { to: 0 }, "counted from 1"),
        ];
        for (fault, why) in wrong {
            let error = plan_of(fault).check().unwrap_err().to_string();
            assert!(error.starts_with("fault 0 of the plan") && error.contains(why), "{error}");
        }
        let mut late = plan_of(Fault::AddNode);
        late.safety_ms = 9;
        assert!(late.check().unwrap_err().to_string().contains("after the safety phase of 9 ms"));
        let mut unsorted = plan_of(Fault::AddNode);
        unsorted.steps.push(Step { at_ms: 0, for_ms: 0, fault: Fault::AddNode });
        assert!(unsorted.check().unwrap_err().to_string().contains("order of their beginning"));
    }
}
