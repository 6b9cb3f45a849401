import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;

/** The same as dialogue.py. Arguments: HOST PORT connected|unconnected|channel|tcp */
public class Dialogue {
    private static void print(InetSocketAddress peer, String answer) {
        // Of the form that other programs print.
        System.out.println(peer.getAddress().getHostAddress() + " " + answer);
        System.out.flush();
    }

    private interface Exchange {
        void with(byte[] text) throws IOException;
    }

    public static void main(String[] arguments) throws IOException {
        InetSocketAddress to =
            new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
        Exchange exchange = switch (arguments[2]) {
            case "tcp" -> tcp(to);
            case "channel" -> channel(to);
            default -> datagrams(to, arguments[2].equals("connected"));
        };
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null;) exchange.with(line.getBytes());
    }

    private static Exchange datagrams(InetSocketAddress to, boolean connected)
            throws IOException {
        DatagramSocket socket = new DatagramSocket();
        if (connected) socket.connect(to);
        return text -> {
            DatagramPacket packet = connected
                ? new DatagramPacket(text, text.length)
                : new DatagramPacket(text, text.length, to);
            socket.send(packet);
            DatagramPacket answer = new DatagramPacket(new byte[4096], 4096);
            socket.receive(answer);
            print((InetSocketAddress) answer.getSocketAddress(),
                new String(answer.getData(), 0, answer.getLength()));
        };
    }

    private static Exchange channel(InetSocketAddress to) throws IOException {
        DatagramChannel channel = DatagramChannel.open(StandardProtocolFamily.INET6);
        channel.connect(to);
        return text -> {
            channel.write(ByteBuffer.wrap(text));
            ByteBuffer answer = ByteBuffer.allocate(4096);
            int length = channel.read(answer);
            print((InetSocketAddress) channel.getRemoteAddress(),
                new String(answer.array(), 0, length));
        };
    }

    private static Exchange tcp(InetSocketAddress to) throws IOException {
        Socket socket = new Socket(to.getAddress(), to.getPort());
        BufferedReader answers =
            new BufferedReader(new InputStreamReader(socket.getInputStream()));
        return text -> {
            socket.getOutputStream().write((new String(text) + "\n").getBytes());
            String answer = answers.readLine();
            if (answer == null) throw new EOFException();
            print((InetSocketAddress) socket.getRemoteSocketAddress(), answer);
        };
    }
}
