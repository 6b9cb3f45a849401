# Tornado's tests, made to speak to A by IPv6 where they speak to this host by IPv4.
s|//127\.0\.0\.1|//[2001:db8:a::53]|g
s|Origin": "127\.0\.0\.1|Origin": "[2001:db8:a::53]|
s|\^127\.0\.0\.1:|^\\[2001:db8:a::53\\]:|
s/"127\.0\.0\.1"/"2001:db8:a::53"/g
s/\bsocket\.AF_INET\b/socket.AF_INET6/g
# Without a family it would be IPv4's.
s/\bsocket\.socket\(\)/socket.socket(socket.AF_INET6)/g
