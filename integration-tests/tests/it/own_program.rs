//! A program that a user has written, with its job: what the tests of such programs share.

use crate::harness::{END, LIMIT, job};
use integration_tests::{
    Result, ensure,
    job::{Job, example},
    process::{self, Finished},
    service::Service,
};
use std::path::PathBuf;

/// A job, and the user's program for it.
pub struct Own {
    pub job: Job,
    pub program: PathBuf,
}

impl Own {
    /// The example `name`; the variable `prefix` puts the name of the job before the names of its topics.
    pub fn new(name: &str, prefix: &str) -> Result<Self> {
        let mut job = job()?;
        job.set_variable(prefix, format!("{}.", job.name()));
        Ok(Self { job, program: example(name)? })
    }

    pub fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Service> {
        self.job.serve(self.job.own_command(&self.program, arguments)?, environment)
    }

    pub fn killed_at(&self, point: &str) -> Result<()> {
        self.start(&["run"], &[("SLUICEGATE_FAILPOINTS", point)])?.wait_killed(END)
    }

    pub fn catch_up(&self, arguments: &[&str]) -> Result<()> {
        let mut service = self.start(&[&["run", "--until-caught-up"], arguments].concat(), &[])?;
        let exit = service.wait(LIMIT)?;
        ensure!(exit.code() == Some(0), "ended with {}; {}", exit.status, service.last_lines(60));
        Ok(())
    }

    pub fn run(&self, arguments: &[&str]) -> Result<Finished> {
        process::run(&mut self.job.own_command(&self.program, arguments)?, END)
    }

    pub fn succeed(&self, arguments: &[&str]) -> Result<String> {
        process::output(&mut self.job.own_command(&self.program, arguments)?, END)
    }
}
