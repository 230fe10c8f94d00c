"""What the operator says to Kubernetes: objects, status, conditions, events, references."""
