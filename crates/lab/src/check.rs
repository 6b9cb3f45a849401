//! What a scenario's types cannot say: that its names exist, and that each step
//! has one meaning.
use std::collections::BTreeSet;

use crate::packet::Filter;
use crate::scenario::{Expect, Scenario, Service, Step, Wait};

type Check<T = ()> = Result<T, String>;

/// Everything that steps refer to by name, so far.
#[derive(Default)]
struct Known<'s> {
    hosts: BTreeSet<&'s str>,
    processes: BTreeSet<&'s str>,
    captures: BTreeSet<&'s str>,
    marks: BTreeSet<&'s str>,
}

fn is_known(set: &BTreeSet<&str>, kind: &str, name: &str) -> Check {
    match set.contains(name) {
        true => Ok(()),
        false => Err(format!("there is no {kind} {name:?}")),
    }
}

impl Scenario {
    pub(crate) fn check(&self) -> Check {
        let mut known = Known {
            hosts: self.hosts.keys().map(String::as_str).collect(),
            ..Known::default()
        };
        for file in &self.files {
            if file.text.is_some() == file.size.is_some() {
                return Err(format!("files: {:?}: either text or size", file.path));
            }
        }
        for capture in &self.captures {
            is_known(&known.hosts, "host", &capture.host)
                .map_err(|e| format!("captures.{}: host: {e}", capture.name))?;
            known.captures.insert(&capture.name);
        }
        for service in &self.services {
            known
                .service(service)
                .map_err(|e| format!("services.{}: {e}", service.name))?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            known
                .step(step)
                .map_err(|e| format!("steps: number {}: {e}", number + 1))?;
        }
        Ok(())
    }
}

impl<'s> Known<'s> {
    fn service(&mut self, service: &'s Service) -> Check {
        is_known(&self.hosts, "host", &service.host)?;
        if service.command.is_empty() {
            return Err("command: is empty".to_owned());
        }
        self.processes.insert(&service.name);
        Ok(())
    }

    fn step(&mut self, step: &'s Step) -> Check {
        let actions = [
            step.run.is_some(),
            step.start.is_some(),
            step.finish.is_some(),
            step.stop.is_some(),
            step.wait.is_some(),
            step.ip.is_some(),
            step.mark.is_some(),
            step.expect.is_some(),
            step.tally.is_some(),
            step.chart.is_some(),
            step.plot.is_some(),
        ];
        if actions.iter().filter(|given| **given).count() != 1 {
            return Err(
                "exactly one of run, start, finish, stop, wait, ip, mark, expect, tally, chart, plot"
                    .to_owned(),
            );
        }
        if let Some(run) = &step.run {
            is_known(&self.hosts, "host", &run.host)?;
            if run.command.is_empty() {
                return Err("run: command: is empty".to_owned());
            }
            if run.background && run.name.is_none() {
                return Err("run: background needs a name".to_owned());
            }
            self.processes.extend(run.name.as_deref());
        }
        if let Some(service) = &step.start {
            self.service(service)?;
        }
        if let Some(finish) = &step.finish {
            is_known(&self.processes, "process", &finish.process)?;
        }
        if let Some(stop) = &step.stop {
            is_known(&self.processes, "process", &stop.process)?;
        }
        if let Some(wait) = &step.wait {
            self.wait(wait)?;
        }
        if let Some(ip) = &step.ip {
            is_known(&self.hosts, "host", &ip.host)?;
        }
        if let Some(expect) = &step.expect {
            if step.promise.is_none() {
                return Err("expect: promise: is missing".to_owned());
            }
            self.expect(expect)?;
        }
        if let Some(tally) = &step.tally {
            for capture in &tally.captures {
                is_known(&self.captures, "capture", capture)?;
            }
            for row in &tally.rows {
                self.marks(&row.since, &row.until)?;
            }
        }
        if let Some(chart) = &step.chart {
            is_known(&self.captures, "capture", &chart.capture)?;
            for host in chart.columns.iter().chain(chart.also.values()) {
                is_known(&self.hosts, "host", host)?;
            }
            self.marks(&chart.since, &chart.until)?;
        }
        if let Some(plot) = &step.plot {
            is_known(&self.captures, "capture", &plot.capture)?;
            if plot.name.is_empty() || plot.name.contains('/') {
                return Err(format!("plot: name: {:?} is no file's name", plot.name));
            }
            for bar in &plot.bars {
                self.marks(&Some(bar.since.clone()), &Some(bar.until.clone()))?;
            }
        }
        self.marks.extend(step.mark.as_deref());
        Ok(())
    }

    fn marks(&self, since: &Option<String>, until: &Option<String>) -> Check {
        for mark in [since, until].into_iter().flatten() {
            is_known(&self.marks, "mark", mark)?;
        }
        Ok(())
    }

    fn wait(&self, wait: &Wait) -> Check {
        let until = &wait.condition;
        let of_host = until.tcp.is_some() || until.udp.is_some() || until.unix.is_some();
        let of_process = until.stdout.is_some() || until.stderr.is_some();
        if of_host && wait.host.is_none() {
            return Err("wait: tcp, udp and unix need a host".to_owned());
        }
        if of_process && wait.process.is_none() {
            return Err("wait: stdout and stderr need a process".to_owned());
        }
        if !of_host && !of_process && wait.file.is_none() {
            return Err("wait: for what? until or file is missing".to_owned());
        }
        let parts = [
            wait.file.is_some(),
            wait.fraction.is_some(),
            wait.of.is_some(),
        ];
        if parts != [parts[0]; 3] {
            return Err("wait: file, fraction and of belong together".to_owned());
        }
        if let Some(host) = &wait.host {
            is_known(&self.hosts, "host", host)?;
        }
        if let Some(process) = &wait.process {
            is_known(&self.processes, "process", process)?;
        }
        Ok(())
    }

    fn expect(&self, expect: &Expect) -> Check {
        let kinds = [
            expect.capture.is_some(),
            expect.same.is_some(),
            expect.stdout.is_some(),
            expect.file.is_some(),
        ];
        if kinds.iter().filter(|given| **given).count() != 1 {
            return Err("expect: exactly one of capture, same, stdout, file".to_owned());
        }
        if expect.decoded.is_some() && expect.capture.is_none() {
            return Err("expect: decoded goes with capture".to_owned());
        }
        if expect.decoded.is_some() && expect.packets != Filter::default() {
            return Err("expect: either decoded or packets".to_owned());
        }
        let order = !expect.order.is_empty();
        if order && (expect.decoded.is_some() || expect.packets != Filter::default()) {
            return Err("expect: either order or decoded or packets".to_owned());
        }
        if expect.capture.is_some() != (expect.count.is_some() || order) {
            return Err("expect: capture and count, or order, belong together".to_owned());
        }
        if expect.count.is_some() && order {
            return Err("expect: either count or order".to_owned());
        }
        let fraction = expect.fraction.is_some();
        if fraction != expect.of.is_some() || (fraction && expect.file.is_none()) {
            return Err("expect: file, fraction and of belong together".to_owned());
        }
        let text = expect.stdout.is_some() || (expect.file.is_some() && !fraction);
        if text != expect.contains.is_some() {
            return Err("expect: contains goes with stdout or file".to_owned());
        }
        if let Some(capture) = &expect.capture {
            is_known(&self.captures, "capture", capture)?;
        }
        if let Some(process) = &expect.stdout {
            is_known(&self.processes, "process", process)?;
        }
        self.marks(&expect.since, &expect.until)
    }
}
