//! What clients ask for.

use spec::container::Process;
use spec::protocol::{Failure, Reply, Request, VERSION};
use spec::{Error, Result};

use crate::connection::{Connection, Role};
use crate::keep::Keeper;
use crate::orders::Entry;
use crate::task::Task;

impl Keeper {
    /// Answers everything that has come in on a connection.
    pub(crate) fn answer(&mut self, connection: &mut Connection) {
        while !connection.closed {
            let answered = match connection.request() {
                Ok(None) => return,
                Ok(Some(Request::Hello { .. })) if !connection.greeted => {
                    connection.greeted = true;
                    connection.send(&Reply::Hello { version: VERSION });
                    Ok(())
                }
                Ok(Some(_)) if !connection.greeted => Err(Error::internal("no greeting")),
                Ok(Some(request)) => self.serve(connection, request),
                // Who does not speak our language gets no answer in it.
                Err(_) => return connection.closed = true,
            };
            if let Err(error) = answered {
                connection.send(&Reply::Failed(Failure::from(&error)));
            }
        }
    }

    fn serve(&mut self, connection: &mut Connection, request: Request) -> Result<()> {
        match request {
            Request::Hello { .. } => Err(Error::internal("greeted twice")),
            Request::Attach => take_role(connection, Role::Attached),
            Request::Wait => take_role(connection, Role::Waiting),
            Request::Exec { process, input } => {
                self.execute(connection, &process, Entry { input, ..Entry::default() })
            }
            Request::ExecWith { process, input, without, alone } => {
                self.execute(connection, &process, Entry { input, without, alone })
            }
            Request::Signal { number } => self.fed(connection).map_or(Ok(()), |task| task.signal(number)),
            Request::Resize { rows, columns } => {
                if matches!(connection.role, Role::Launch | Role::Attached) {
                    // For when it is started again.
                    self.job.size = Some((rows, columns));
                }
                self.fed(connection).map_or(Ok(()), |task| task.resize(rows, columns))
            }
            Request::Input { bytes } => {
                self.fed(connection).into_iter().for_each(|task| task.input(&bytes));
                Ok(())
            }
            Request::InputEnd => {
                self.fed(connection).into_iter().for_each(Task::end_input);
                Ok(())
            }
            order => self.obey(connection, order),
        }
    }

    /// The process that a connection's input and signals are for; None once it has ended.
    fn fed<'a>(&'a mut self, connection: &'a mut Connection) -> Option<&'a mut Task> {
        match connection.role {
            Role::Launch | Role::Attached => Some(&mut self.task),
            _ => connection.task.as_mut(),
        }
    }

    fn execute(&mut self, connection: &mut Connection, process: &Process, entry: Entry) -> Result<()> {
        take_role(connection, Role::Exec)?;
        let task = self.join(process, &entry)?;
        connection.send(&Reply::Started { pid: task.pid() });
        if entry.alone {
            self.loose.push(task);
        } else {
            connection.task = Some(task);
        }
        Ok(())
    }
}

fn take_role(connection: &mut Connection, role: Role) -> Result<()> {
    if connection.role != Role::New {
        return Err(Error::internal(format!("this connection is a {:?} already", connection.role)));
    }
    connection.role = role;
    Ok(())
}
