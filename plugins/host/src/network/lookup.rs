//! `wasi:sockets/ip-name-lookup`: addresses of granted names, for sockets. What a name resolved to is remembered, since a socket is given an
//! address only, and is then held against the name's grant.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec;

use wasmtime::component::{Linker, Resource, ResourceTable, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

use super::connector::Connector;
use crate::grants::Asked;
use crate::state::State;

/// As wasmtime-wasi names it.
const INTERFACE: &str = "wasi:sockets/ip-name-lookup@0.2.12";
/// Addresses that are remembered for one instance; a plugin that looks more up must do so again.
const FOUND_MAX: usize = 256;

/// The names that addresses were found under.
#[derive(Clone, Default)]
pub(crate) struct Found(Arc<Mutex<BTreeMap<IpAddr, Vec<String>>>>);

/// A lookup on its way, or what is left of its answer.
pub(crate) enum Lookup {
    Pending(AbortOnDropJoinHandle<Answer>),
    Ready(Answer),
}

type Answer = Result<vec::IntoIter<IpAddr>, ErrorCode>;

impl Found {
    fn add(&self, name: &str, addresses: &[IpAddr]) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for address in addresses {
            if found.len() >= FOUND_MAX && !found.contains_key(address) {
                found.clear();
            }
            let names = found.entry(*address).or_default();
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }

    /// The names of an address.
    pub(crate) fn names(&self, address: IpAddr) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned().unwrap_or_default()
    }
}

impl Lookup {
    /// Begins to look for addresses, unless the name was not granted: that ends the call.
    pub(crate) fn begin(connector: &Connector, found: &Found, name: &str) -> Result<Self, ErrorCode> {
        let name = match Asked::new(name) {
            Asked::Address(address) => return Ok(Lookup::Ready(Ok(vec![address].into_iter()))),
            Asked::Name(name) => name,
        };
        if !connector.may_look_up(&name) {
            return Err(ErrorCode::AccessDenied);
        }
        let (network, found, expected) = (connector.network.clone(), found.clone(), connector.watch.expect());
        Ok(Lookup::Pending(spawn(async move {
            // The port is of no matter to who finds addresses.
            let answer = network.config.resolver.resolve(&name, 0).await;
            drop(expected);
            let addresses: Vec<IpAddr> =
                answer.map_err(|_| ErrorCode::NameUnresolvable)?.iter().map(std::net::SocketAddr::ip).collect();
            found.add(&name, &addresses);
            Ok(addresses.into_iter())
        })))
    }

    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        match self {
            Lookup::Pending(_) => Err(ErrorCode::WouldBlock),
            Lookup::Ready(Ok(addresses)) => Ok(addresses.next().map(IpAddress::from)),
            Lookup::Ready(Err(code)) => Err(*code),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        if let Lookup::Pending(answer) = self {
            *self = Lookup::Ready(answer.await);
        }
    }
}

/// Takes the place of wasmtime-wasi's own, which looks any name up or none.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut interface = linker.instance(INTERFACE)?;
    interface.resource("resolve-address-stream", ResourceType::host::<Lookup>(), |mut store, number| {
        store.data_mut().table().delete(Resource::<Lookup>::new_own(number))?;
        Ok(())
    })?;
    interface.func_wrap("resolve-addresses", |mut store, (network, name): (Resource<Network>, String)| {
        let begun = store.data_mut().look_up(&network, &name)?;
        Ok((begun,))
    })?;
    let method = |name: &str| format!("[method]resolve-address-stream.{name}");
    interface.func_wrap(&method("resolve-next-address"), |mut store, (lookup,): (Resource<Lookup>,)| {
        let table: &mut ResourceTable = store.data_mut().table();
        Ok((table.get_mut(&lookup)?.next(),))
    })?;
    interface.func_wrap(&method("subscribe"), |mut store, (lookup,): (Resource<Lookup>,)| {
        let pollable: Resource<DynPollable> = subscribe(store.data_mut().table(), lookup)?;
        Ok((pollable,))
    })?;
    linker.allow_shadowing(false);
    Ok(())
}
