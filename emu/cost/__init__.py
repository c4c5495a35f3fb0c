"""What each form of virtual machine costs: the same work in all of them, side by side."""
