# libuv's tests, made to speak to A by IPv6 where they speak to this host by IPv4.
s/\buv_ip4_addr\("127\.0\.0\.1"/uv_ip6_addr("2001:db8:a::53"/
s/\buv_ip4_addr\("0\.0\.0\.0"/uv_ip6_addr("::"/
s/\buv_ip4_addr\(compare_ip/uv_ip6_addr(compare_ip/
s/"0\.0\.0\.0"/"::"/g
s/"127\.0\.0\.1"/"2001:db8:a::53"/g
s/\buv_ip6_addr\("::1"/uv_ip6_addr("2001:db8:a::53"/
s/\buv_ip4_name\b/uv_ip6_name/g
s/\bsockaddr_in\b/sockaddr_in6/g
s/\bsin_addr\.s_addr = htonl\(INADDR_ANY\)/sin6_addr = in6addr_any/
s/\bsin_(port|addr|family)\b/sin6_\1/g
s/\b([AP])F_INET\b/\1F_INET6/g
# Its pipes, where each run has a folder of its own.
s|"/tmp/(uv-test-sock)|"\1|
