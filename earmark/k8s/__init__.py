"""The mesh on a Kubernetes cluster, as an operator sees and changes it: what `earmark k8s` is made of."""
