"""Zero-cost proxies: scores of networks at initialisation. A new one is a file and a line here."""

from nasgen.proxies import counts, nwot, snip, synflow, t_cet
from nasgen.proxies.proxy import Passes, Proxy

PROXIES: dict[str, Proxy] = {
    "params": Proxy((), counts.params),
    "macs": Proxy((), counts.macs),
    "layers": Proxy((), counts.layers),
    "snip": Proxy(("gradients",), snip.snip),
    "snip_snr": Proxy(("gradients",), snip.snip_snr),
    "nwot": Proxy(("agreements",), nwot.nwot),
    "synflow": Proxy(("synflow",), synflow.synflow),
    "t_cet": Proxy(("gradients", "agreements"), t_cet.t_cet),
}

__all__ = ["PROXIES", "Passes", "Proxy"]
