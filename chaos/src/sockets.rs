//! The kernel's tables of TCP sockets: which connections the server still holds, and what all of them cost.
//!
//! A client that does not read cannot learn that its connection was closed, since what the server had written before
//! stands in the way. So the kernel is asked about the server's end.
use std::collections::HashSet;
use std::net::SocketAddr;

use rustix::param::page_size;

use crate::failure::{Failure, Result};

/// The clients' ports of all connections that the server at `server` has not closed.
pub(crate) async fn held_by(server: SocketAddr) -> Result<HashSet<u16>> {
    // The table is large: reading it must not hold up the clients.
    let table = tokio::task::spawn_blocking(|| std::fs::read_to_string("/proc/net/tcp")).await;
    let table = table.map_err(|_| Failure::new("the table of sockets could not be read"))??;
    Ok(held(&table, server.port()))
}

/// How many bytes the kernel holds for TCP on this machine.
pub(crate) fn kernel_memory() -> Result<u64> {
    let sockets = std::fs::read_to_string("/proc/net/sockstat")?;
    let pages = pages(&sockets).ok_or_else(|| Failure::new("the memory of sockets is not told"))?;
    Ok(pages * page_size() as u64)
}

fn pages(sockets: &str) -> Option<u64> {
    let line = sockets.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    words.nth(1)?.parse().ok()
}

fn held(table: &str, server: u16) -> HashSet<u16> {
    table.lines().skip(1).filter_map(|line| client_of(line, server)).collect()
}

/// The client's port, if this is the server's end of a connection that is open or about to be.
fn client_of(line: &str, server: u16) -> Option<u16> {
    const ESTABLISHED: &str = "01";
    const SYN_RECEIVED: &str = "03";
    let mut fields = line.split_whitespace().skip(1);
    let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let is_held = [ESTABLISHED, SYN_RECEIVED].contains(&state) && port(local)? == server;
    is_held.then(|| port(remote))?
}

fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_open_connections_of_the_server_are_held() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0100007F:1F90 0100007F:C351 04 00000000:00000000 00:00000000 00000000     0        0 0 1
   3: 0100007F:1F90 0100007F:C352 03 00000000:00000000 00:00000000 00000000     0        0 0 1
   4: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 13 1
";
        assert_eq!(held(table, 0x1F90), HashSet::from([0xC350, 0xC352]));
        assert_eq!(held("", 80), HashSet::new());
    }

    #[test]
    fn the_memory_of_tcp_is_read_where_it_stands() {
        let sockets =
            "sockets: used 9\nTCP: inuse 4 orphan 0 tw 1 alloc 7 mem 12\nUDP: inuse 0 mem 3\n";
        assert_eq!(pages(sockets), Some(12));
        assert_eq!(pages("UDP: inuse 0 mem 3\n"), None);
    }
}
