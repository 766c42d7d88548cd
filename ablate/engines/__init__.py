"""What computes a network and its gradients: replicas as one program, or one network by autograd."""
