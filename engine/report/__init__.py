"""One page per run that opens from a USB stick: no server, no network, nothing to install."""
