"""Zero-cost proxies: scores of networks at initialisation. A new one is a file and a line here."""

from nasgen.proxies import (
    az_nas,
    counts,
    epe_nas,
    fisher,
    grad_norm,
    grad_sign,
    grasp,
    jacob_cov,
    l2_norm,
    ntk,
    nwot,
    plain,
    snip,
    swap,
    synflow,
    t_cet,
    zen,
    zico,
)
from nasgen.proxies.proxy import Ensemble, Passes, Proxy

PROXIES: dict[str, Proxy | Ensemble] = {
    "params": Proxy((), counts.params),
    "macs": Proxy((), counts.macs),
    "layers": Proxy((), counts.layers),
    "grad_norm": Proxy(("gradients",), grad_norm.grad_norm),
    "snip": Proxy(("gradients",), snip.snip),
    "snip_snr": Proxy(("gradients",), snip.snip_snr),
    "grasp": Proxy(("curvature",), grasp.grasp),
    "fisher": Proxy(("products",), fisher.fisher),
    "plain": Proxy(("gradients",), plain.plain),
    "l2_norm": Proxy((), l2_norm.l2_norm),
    "synflow": Proxy(("synflow",), synflow.synflow),
    "jacob_cov": Proxy(("jacobian",), jacob_cov.jacob_cov),
    "epe_nas": Proxy(("jacobian",), epe_nas.epe_nas),
    "nwot": Proxy(("relu_agreements",), nwot.nwot),
    "nwot_fresh": Proxy(("fresh_relu_agreements",), nwot.nwot_fresh),
    "nwot_layers": Proxy(("agreements",), nwot.nwot_layers),
    "nwot_outputs": Proxy(("agreements",), nwot.nwot_outputs),
    "swap": Proxy(("patterns",), swap.swap),
    "t_cet": Proxy(("gradients", "agreements"), t_cet.t_cet),
    "t_cet_synflow": Proxy(("synflow_snr", "agreements"), t_cet.t_cet_synflow),
    "zen": Proxy(("zen",), zen.zen),
    "zico": Proxy(("half_gradients",), zico.zico),
    "grad_sign": Proxy(("sign_sums",), grad_sign.grad_sign),
    "ntk": Proxy(("ntk",), ntk.ntk),
    "az_expressivity": Proxy(("blocks",), az_nas.az_expressivity),
    "az_progressivity": Proxy(("blocks",), az_nas.az_progressivity),
    "az_trainability": Proxy(("blocks",), az_nas.az_trainability),
    "az_nas": Ensemble(
        ("az_expressivity", "az_progressivity", "az_trainability", "macs"), az_nas.log_rank_sum
    ),
}

__all__ = ["PROXIES", "Ensemble", "Passes", "Proxy"]
