import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;

/** Downloads http://HOST/PATH into FILE by the HTTP client of the JDK, which does not block. */
class Download {
    public static void main(String[] words) throws Exception {
        String host = words[0].contains(":") ? "[" + words[0] + "]" : words[0];
        URI uri = URI.create("http://" + host + words[1]);
        HttpRequest request = HttpRequest.newBuilder(uri).version(HttpClient.Version.HTTP_1_1).build();
        var response = HttpClient.newHttpClient().send(request, BodyHandlers.ofInputStream());
        if (response.statusCode() != 200)
            throw new Exception("HTTP " + response.statusCode());
        long expected = response.headers().firstValueAsLong("Content-Length").getAsLong();
        try (InputStream in = response.body(); var out = Files.newOutputStream(Path.of(words[2]))) {
            expected -= in.transferTo(out);
        }
        if (expected != 0)
            throw new Exception(expected + " octets are missing");
        System.exit(0);
    }
}
