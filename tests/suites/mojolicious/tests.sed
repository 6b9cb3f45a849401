# Mojolicious and its tests, made to speak to A where they speak to this host by IPv4.
s|//127\.0\.0\.1|//[2001:db8:a::53]|g
s/host\('127\.0\.0\.1'\)/host('[2001:db8:a::53]')/
s/(['"])127\.0\.0\.1\1/\12001:db8:a::53\1/g
s/127\\\.0\\\.0\\\.1/2001:db8:a::53/g
s/(\|\| )'0\.0\.0\.0'/\1'::'/
s/\bIO::Socket::INET\b/IO::Socket::IP/g
