//! Packet sockets (AF_PACKET) of the tools.
