"""An HTTP proxy between boto3 and an AWS endpoint: it counts calls, and a test can bend them."""

from weir_local.proxy.exchange import DROPPED, Exchange, Forward, Reply, Rule
from weir_local.proxy.server import Proxy, ProxyProcess

__all__ = ["DROPPED", "Exchange", "Forward", "Proxy", "ProxyProcess", "Reply", "Rule"]
