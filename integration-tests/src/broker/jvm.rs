//! Brokers as processes of this machine.

use super::{Node, Options, Ports, VERSION, jars, jars::Jars, properties};
use crate::{
    Context, Result, bail,
    leftovers::Folder,
    process::{Process, Signal},
};
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

/// A broker needs a few seconds to write its last snapshot.
const STOP: Duration = Duration::from_secs(60);

/// The brokers of a cluster with these ports, not started yet.
pub(super) fn nodes(options: &Options, ports: &[Ports]) -> Result<Vec<Box<dyn Node>>> {
    let jars = Jars::get()?;
    let folder = Arc::new(Folder::new("kafka")?);
    let all: BTreeMap<u16, Ports> = (1..).zip(ports.iter().copied()).collect();
    let mut nodes: Vec<Box<dyn Node>> = Vec::new();
    for (&id, &ports) in &all {
        let home = folder.path().join(format!("broker-{id}"));
        let data = home.join("data");
        jars.format(&data, id)?;
        let mut settings = jars::local(id, &all, &data);
        settings.extend(properties::common(options));
        fs::write(home.join("server.properties"), properties::file(&settings))?;
        let flags = flags(options);
        nodes.push(Box::new(JvmBroker {
            id,
            ports,
            home,
            flags,
            jars: jars.clone(),
            process: None,
            folder: Arc::clone(&folder),
        }));
    }
    Ok(nodes)
}

/// The flags of Kafka's own start script where speed counts; the shortest start elsewhere.
fn flags(options: &Options) -> Vec<String> {
    let fixed: &[&str] = if options.optimised {
        &[
            "-server",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:InitiatingHeapOccupancyPercent=35",
            "-XX:+ExplicitGCInvokesConcurrent",
        ]
    } else {
        &["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    };
    let mut flags: Vec<String> = fixed.iter().map(ToString::to_string).collect();
    flags.extend([format!("-Xmx{}", options.heap), "-Djava.awt.headless=true".to_owned()]);
    flags
}

struct JvmBroker {
    id: u16,
    ports: Ports,
    home: PathBuf,
    flags: Vec<String>,
    jars: Jars,
    process: Option<Process>,
    /// Of the whole cluster; removed with its last broker, after the process above.
    #[allow(dead_code)]
    folder: Arc<Folder>,
}

impl JvmBroker {
    fn process(&mut self) -> Result<&mut Process> {
        let id = self.id;
        self.process.as_mut().with_context(|| format!("broker {id} does not run"))
    }
}

impl Node for JvmBroker {
    fn address(&self) -> String {
        self.ports.address()
    }

    fn launch(&mut self) -> Result<()> {
        if let Some(process) = &mut self.process
            && process.try_exit()?.is_none()
        {
            bail!("broker {} runs already", self.id);
        }
        let mut command = self.jars.java();
        command.args(&self.flags).args(self.jars.archive_flags()).arg("kafka.Kafka").arg(self.home.join("server.properties"));
        let log = self.home.join("server.log");
        self.process = Some(Process::spawn(format!("Kafka broker {}", self.id), &mut command, &log)?);
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        let process = self.process()?;
        match process.try_exit()? {
            Some(exit) => bail!("broker ended by itself ({}); {}", exit.status, process.last_lines(40)),
            None => Ok(()),
        }
    }

    fn stop(&mut self) -> Result<()> {
        self.process()?.terminate(STOP).map(drop)
    }

    fn kill(&mut self) -> Result<()> {
        self.process()?.kill().map(drop)
    }

    fn pause(&mut self) -> Result<()> {
        self.process()?.signal(Signal::Stop)
    }

    fn resume(&mut self) -> Result<()> {
        self.process()?.signal(Signal::Continue)
    }

    fn cpu(&self) -> Result<Duration> {
        self.process.as_ref().map_or(Ok(Duration::ZERO), Process::cpu)
    }

    fn describe(&self) -> String {
        let pid = self.process.as_ref().map_or_else(|| "not running".to_owned(), |process| format!("process {}", process.pid()));
        format!("Apache Kafka {VERSION} at {} ({pid})", self.address())
    }
}
