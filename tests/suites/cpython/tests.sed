# CPython's tests, made to speak to A by IPv6 where they speak to this host by IPv4,
# or by ::1.
s/\bsocket\.AF_INET\b/socket.AF_INET6/g
s/(family=|proto == )AF_INET\b/\1AF_INET6/g
s/<AddressFamily\.AF_INET:/<AddressFamily.AF_INET6:/
s/\b(self\.cli\.family, )2\)/\110)/
/IP Address|^HOSTv4/!s/(["'])127\.0\.0\.1\1/\12001:db8:a::53\1/g
s/\(\((["'])::1\1,/(("2001:db8:a::53",/g
s/(getsockname\(\)\[0\], )"::1"/\1"2001:db8:a::53"/
s/\(\((["'])0\.0\.0\.0\1/((\1::\1/g
s/^HOSTv6 = "::1"$/HOSTv6 = "2001:db8:a::53"/
s/socket_helper\.HOSTv4, 0,/socket_helper.HOSTv6, 0,/
