"""The whole way, from kubectl apply to rows."""
