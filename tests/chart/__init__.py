"""The Helm chart: what it renders, and what it installs."""
