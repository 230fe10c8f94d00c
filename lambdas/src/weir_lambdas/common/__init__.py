"""What every function needs: state, storage, secrets, outgoing requests, errors, logs and metrics."""
